//! Archives and folders of every supported layout, and hostile ones; the store; pair lists.

#[path = "import/annotated.rs"]
mod annotated;
#[path = "import/archives.rs"]
mod archives;
#[path = "import/arrangements.rs"]
mod arrangements;
#[path = "import/hostile.rs"]
mod hostile;
#[path = "import/layouts.rs"]
mod layouts;
#[path = "import/pairs.rs"]
mod pairs;
#[path = "import/real.rs"]
mod real;
#[path = "import/sources.rs"]
mod sources;
#[path = "import/store.rs"]
mod store;
#[path = "import/voc.rs"]
mod voc;
#[path = "import/voc_hostile.rs"]
mod voc_hostile;
#[path = "import/voc_objects.rs"]
mod voc_objects;

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use sempair::data::image_set::Dataset;
use sempair::data::import::Imported;
use sempair::data::import::Options;
use sempair::data::import::import;
use sempair::data::store::AnyDataset;
use sempair::error::Error;
use tempfile::TempDir;

/// The dataset of an import of labelled images.
fn labelled(imported: Imported) -> Dataset {
    match imported.dataset {
        AnyDataset::Labelled(dataset) => dataset,
        AnyDataset::Annotated(_) => panic!("the images have no labels"),
    }
}

/// A temporary directory with a source and a data directory.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn source(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join("source.bin");
        fs::write(&path, bytes).unwrap();
        path
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn import(&self, path: &Path, size: Option<usize>) -> Result<Imported, Error> {
        let options = Options { name: Some("set".into()), size, licence: None, replace: true, cancelled: &|| false };
        import(&[path], &options, &self.data(), &|_, _| ())
    }

    /// Imports several sources as one set, under its own name if `name` is `None`.
    fn import_all(&self, paths: &[PathBuf], name: Option<&str>) -> Result<Imported, Error> {
        let name = name.map(String::from);
        let options = Options { name, size: None, licence: None, replace: true, cancelled: &|| false };
        import(paths, &options, &self.data(), &|_, _| ())
    }

    /// Imports a set of labelled images.
    fn labelled(&self, path: &Path, size: Option<usize>) -> Dataset {
        labelled(self.import(path, size).unwrap())
    }

    /// The error of importing these bytes, without its hint. Asserts that no file is left in the data directory.
    fn refusal(&self, bytes: &[u8]) -> String {
        self.refusal_of(&self.source(bytes))
    }

    fn refusal_of(&self, path: &Path) -> String {
        let error = self.import(path, None).expect_err("the import went through");
        let left = fs::read_dir(self.data()).map_or(0, Iterator::count);
        assert_eq!(left, 0, "files are left in the data directory");
        self.plain(error.what())
    }

    fn plain(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.path().display()), "")
    }
}
