//! The one integration test binary. Each module says what it holds.

mod architecture; // the rules that the sources themselves must keep
mod augment; // the augmentation operations against torchvision's reference arithmetic
mod commands; // whole commands: what they print, write and refuse; threads, kills and resumption
mod contrast; // losses of the contrastive methods, of PIRL and DeepCluster, and what they remember
mod eval; // probe and k-NN
mod exchange; // encoders to and from other programs, with PyTorch's features
mod gradients; // layers and losses against f64 and finite differences
mod import; // archives and folders of every supported layout, and hostile ones
mod kernels; // convolutions and products against their definitions, over random shapes and on any number of threads
mod keys; // what moves the key of a stage
mod ledger; // records, cache, locks, configuration layers
mod lint; // numbers of manuscripts against a ledger
mod methods; // losses in closed form against their definitions and PyTorch; what methods remember
mod report; // statistics and rendered pages
mod rows; // the kernels that memory limits: the same, and against finite differences
mod sealed; // records with right hashes, for tests that make or forge some
mod soundness; // the embedded world's criteria, at small size
mod training; // every method at work: steps, checkpoints, resumption
mod world; // the procedural world: determinism, factors, separability
