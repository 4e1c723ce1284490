//! What follows what in the journals of a ledger: a line follows the lines above it in its journal, and those that the
//! journal's `after` lines name.

use std::collections::BTreeSet;
use std::collections::HashMap;

use crate::harness::journal::Entry;
use crate::harness::journal::Event;
use crate::harness::journal::Journal;

/// The journals that are as they were written. Nothing is shown by a damaged one.
pub(super) struct Order<'a> {
    journals: Vec<&'a Journal>,
    /// The place of each line in its journal, by journal and hash.
    places: HashMap<(&'a str, &'a str), usize>,
}

impl<'a> Order<'a> {
    pub fn new(journals: &'a [Journal]) -> Self {
        let journals: Vec<&Journal> = journals.iter().filter(|journal| journal.problems.is_empty()).collect();
        let places = journals.iter().flat_map(|journal| {
            let lines = journal.lines.iter().enumerate();
            lines.map(|(place, (_, hash, _))| ((journal.id.as_str(), hash.as_str()), place))
        });
        Self { places: places.collect(), journals }
    }

    /// The runs that began after this plan was frozen; none if no journal says that it was.
    pub fn runs_after(&self, plan: &str) -> BTreeSet<String> {
        // The first line of each journal from which on the plan is known.
        let mut known: HashMap<&str, usize> = HashMap::new();
        for journal in &self.journals {
            let is_it = |(_, _, entry): &(_, _, Entry)| entry.event == Event::Frozen && entry.name == plan;
            if let Some(place) = journal.lines.iter().position(is_it) {
                known.insert(&journal.id, place);
            }
        }
        // Journals are sorted by age, so this is nearly always done after the second round.
        loop {
            let before = known.len();
            for journal in &self.journals {
                if known.contains_key(journal.id.as_str()) {
                    continue;
                }
                let follows = |(_, _, entry): &(_, _, Entry)| {
                    let from = known.get(entry.name.as_str()).filter(|_| entry.event == Event::After);
                    let place = self.places.get(&(entry.name.as_str(), entry.state.as_str()));
                    from.zip(place).is_some_and(|(from, place)| place >= from)
                };
                if let Some(place) = journal.lines.iter().position(follows) {
                    known.insert(&journal.id, place);
                }
            }
            if known.len() == before {
                break;
            }
        }
        let after = |journal: &&'a Journal| {
            let from = known.get(journal.id.as_str()).map_or(journal.lines.len(), |place| place + 1);
            &journal.lines[from..]
        };
        let lines = self.journals.iter().flat_map(after);
        let begun = lines.filter(|(_, _, entry)| entry.event == Event::Begun);
        begun.map(|(_, _, entry)| entry.name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::journal;

    fn ledger(journals: &[(&str, &[(Event, &str)])]) -> Vec<Journal> {
        let folder = tempfile::tempdir().unwrap();
        for (id, events) in journals {
            let path = journal::path(folder.path(), id);
            for (event, name) in *events {
                let state = match event {
                    Event::After => journal::read(&journal::path(folder.path(), name)).head().to_owned(),
                    _ => "a".repeat(64),
                };
                journal::append(&path, &[Entry::new(*event, name, &state)]).unwrap();
            }
        }
        journal::read_all(folder.path()).unwrap()
    }

    #[test]
    fn only_what_follows_the_line_is_after_it() {
        use Event::{After, Begun, Found, Frozen};
        let journals = ledger(&[
            ("1", &[(Found, "r0"), (Begun, "r1")]),
            ("2", &[(After, "1"), (Begun, "r2"), (Frozen, "p"), (Begun, "r3")]),
            // Another clone, which does not know the plan.
            ("3", &[(After, "1"), (Begun, "r4")]),
            ("4", &[(After, "3"), (After, "2"), (Begun, "r5")]),
            ("5", &[(After, "4"), (Begun, "r6")]),
            ("6", &[(Begun, "r7")]),
        ]);
        let after = |plan: &str| Order::new(&journals).runs_after(plan).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!((after("p"), after("q")), ("r3 r5 r6".to_owned(), String::new()));
        // A journal that follows an earlier line of the plan's journal is not after the plan.
        let line = journals[1].lines[1].1.clone();
        let early = Entry::new(After, "2", &line);
        let folder = tempfile::tempdir().unwrap();
        let path = journal::path(folder.path(), "7");
        journal::append(&path, &[early, Entry::new(Begun, "r8", &"b".repeat(64))]).unwrap();
        let mut all = journals;
        all.push(journal::read(&path));
        assert!(!Order::new(&all).runs_after("p").contains("r8"));
        all[3].problems.push("damaged".into());
        assert_eq!(Order::new(&all).runs_after("p"), ["r3".to_owned()].into());
    }
}
