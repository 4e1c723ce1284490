//! Copies to the simulated GPU: their order, and the memory of those that are made beside the work.

use std::process::Command;

use sempair::tensor::{Device, Precision};

use super::{gpu, is_real, stub};

/// More copies than can wait for their turn, without any work between them.
#[test]
fn uploads_do_not_overtake_each_other() {
    for precision in [Precision::F32, Precision::Bf16] {
        let Some(device) = gpu(precision) else { return };
        for len in [100, 40_000] {
            let host: Vec<Vec<f32>> = (0..40).map(|index| vec![index as f32; len]).collect();
            let buffers: Vec<_> = host.iter().map(|values| device.upload(values)).collect();
            let arenas: Vec<_> = host.iter().map(|values| device.arena(values.clone())).collect();
            for ((values, buffer), arena) in host.iter().zip(&buffers).zip(&arenas) {
                assert!(device.download(buffer) == *values && device.host(arena) == *values, "{}", values[0]);
            }
        }
    }
}

/// The pieces of memory that 20 uploads of one size take, each dropped before the next.
fn pieces() -> usize {
    let Some(device) = gpu(Precision::F32) else { return 0 };
    let host = vec![1.0; 1 << 18];
    let peak = || device.kernels().gpu().peak_memory();
    let before = peak();
    (0..20).for_each(|_| drop(device.upload(&host)));
    (peak() - before) / size_of_val(&host[..])
}

#[test]
#[ignore = "needs a process of its own: `memory_waits_for_the_work_that_uses_it` starts it"]
fn memory_of_uploads() {
    println!("{} pieces", pieces());
}

#[test]
fn memory_waits_for_the_work_that_uses_it() {
    if is_real() || stub().is_none() {
        return;
    }
    // Work that is done at once gives its memory to the next upload. Other work does not, until the host waits for it.
    for (events, expected) in [("early", "1 pieces"), ("late", "4 pieces")] {
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args(["--ignored", "--exact", "--nocapture", "cuda::uploads::memory_of_uploads"]);
        let output = test.env("SIM_EVENTS", events).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(expected), "{events}: {text}");
    }
}
