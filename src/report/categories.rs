//! The value of a metric on each category of the test, for tables whose runs record them, such as average precision.

use crate::harness::experiment::Row;
use crate::harness::outcome::CategoryValue;
use crate::report::facts::OfCategory;
use crate::report::select;
use crate::report::select::Selection;
use crate::report::text;
use serde::Serialize;

/// A table of the categories for one column.
#[derive(Serialize)]
pub(super) struct CategoriesView {
    pub title: String,
    pub heads: Vec<String>,
    pub rows: Vec<CategoryRow>,
}

/// One category.
#[derive(Serialize)]
pub(super) struct CategoryRow {
    pub name: String,
    pub items: u64,
    pub values: Vec<String>,
}

/// The values of each row and column by category, with one value for each seed that has one.
pub(super) fn of_categories(selection: &Selection) -> Vec<OfCategory> {
    let mut all: Vec<OfCategory> = Vec::new();
    for column in &selection.table.columns {
        for (row, _) in select::rows(selection.table) {
            for (record, metric, values) in selection
                .cell(row, &column.id)
                .flat_map(|record| record.by_category.iter().map(move |(metric, values)| (record, metric, values)))
            {
                for CategoryValue { name, items, value } in values {
                    let key = (row, column.id.as_str(), metric.as_str(), name.as_str());
                    let is = |of: &&mut OfCategory| {
                        (&of.row, of.column.as_str(), of.metric.as_str(), of.category.as_str()) == key
                    };
                    let seen = all.iter_mut().find(is);
                    let (seed, value) = (record.seed, *value);
                    match seen {
                        Some(of) => of.values.push((seed, value)),
                        None => all.push(OfCategory {
                            row: row.clone(),
                            column: column.id.clone(),
                            metric: metric.clone(),
                            category: name.clone(),
                            items: *items,
                            values: vec![(seed, value)],
                        }),
                    }
                }
            }
        }
    }
    all
}

/// The tables of the page: for each column the categories by the rows, with means over seeds.
pub(super) fn views(selection: &Selection, all: &[OfCategory]) -> Vec<CategoriesView> {
    let of_column = |column: &crate::harness::experiment::Column| {
        let of: Vec<&OfCategory> = all.iter().filter(|of| of.column == column.id).collect();
        let mut rows: Vec<&Row> = Vec::new();
        let mut names: Vec<(&str, u64)> = Vec::new();
        for OfCategory { row, category, items, .. } in &of {
            if !rows.contains(&row) {
                rows.push(row);
            }
            if !names.iter().any(|(name, _)| name == category) {
                names.push((category, *items));
            }
        }
        let value = |row: &Row, name: &str| {
            let mean = of.iter().find(|of| of.row == *row && of.category == name).and_then(|of| of.mean());
            mean.map_or_else(|| text::DASH.to_owned(), |mean| text::fixed(mean, 1))
        };
        let category = |&(name, items): &(&str, u64)| CategoryRow {
            name: name.to_owned(),
            items,
            values: rows.iter().map(|row| value(row, name)).collect(),
        };
        CategoriesView {
            title: column.title.clone(),
            heads: rows.iter().map(|row| text::name(row)).collect(),
            rows: names.iter().map(category).collect(),
        }
    };
    selection.table.columns.iter().map(of_column).filter(|view| !view.rows.is_empty()).collect()
}
