//! The energy that a run's record states, by counters that a test writes.

use super::Project;
use sempair::harness::record::Record;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn a_run_records_the_energy_of_a_machine_that_tells_it() {
    let project = Project::new();
    project.run(false).unwrap();
    let text =
        |record: &Record| fs::read_to_string(project.ledger().dir().join(format!("{}.json", record.id))).unwrap();
    let records = project.records();
    assert!(records.iter().all(|record| record.energy_joules.is_none() && !text(record).contains("energy")));
    let zone = project.folder.path().join("powercap/intel-rapl:0");
    fs::create_dir_all(&zone).unwrap();
    for (file, number) in [("name", "package-0"), ("energy_uj", "1000000"), ("max_energy_range_uj", "262143328850")] {
        fs::write(zone.join(file), format!("{number}\n")).unwrap();
    }
    // The counter goes on while the runs run.
    let (stop, counter) = (Arc::new(AtomicBool::new(false)), zone.join("energy_uj"));
    let counts = std::thread::spawn({
        let stop = stop.clone();
        move || {
            for count in 2.. {
                let next = counter.with_extension("next");
                fs::write(&next, format!("{count}000000\n")).unwrap();
                fs::rename(next, &counter).unwrap();
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
    });
    // A run may be over before the counter moves: then its record says 0.
    let joules = || project.records().iter().filter_map(|record| record.energy_joules).collect::<Vec<f64>>();
    let ran = (0..500).any(|_| {
        project.run(true).unwrap();
        joules().iter().rev().take(2).all(|joules| *joules > 0.0)
    });
    stop.store(true, Ordering::Relaxed);
    counts.join().unwrap();
    let stated = joules();
    assert!(ran && stated.len() >= 2 && stated.iter().all(|joules| *joules >= 0.0), "{stated:?}");
    // A counter that root alone may read is as good as none.
    fs::remove_file(zone.join("energy_uj")).unwrap();
    project.run(true).unwrap();
    assert_eq!(joules(), stated);
}
