//! The only integration test binary. Each module describes its contents.

mod architecture; // the rules that the sources must follow
mod augment; // the augmentation operations against torchvision's reference arithmetic
mod commands; // whole commands: what they print, write and refuse; threads, kills and resumption
mod contrast; // losses of the contrastive methods, of PIRL and DeepCluster, and their state between steps
mod cuda; // the GPU: kernels on a simulator, against the CPU
mod detection; // boxes, anchors, matching, suppression and losses of detection: reference numbers and plain definitions
mod eval; // probe and k-NN; average precision of detections against references and definitions
mod exchange; // exchange of encoders with other programs, with PyTorch's features
mod gradients; // layers and losses against f64 and finite differences
mod import; // archives and folders of every supported layout, and hostile ones
mod kernels; // convolutions and products against their definitions, over random shapes and on any number of threads
mod keys; // which edits change the key of a stage
mod ledger; // records, cache, locks, configuration layers
mod lint; // numbers of manuscripts against a ledger
mod methods; // losses in closed form against their definitions and PyTorch; state between steps
mod report; // statistics and rendered pages
mod rows; // the memory-bound kernels: against their definitions and finite differences
mod sealed; // records with valid hashes, for tests that create or forge records
mod soundness; // the embedded world's criteria, at small size
mod training; // training with every method: steps, checkpoints, resumption
mod world; // the procedural world: determinism, factors, separability
