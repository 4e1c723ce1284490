//! The one integration test binary. Each module says what it holds.

mod augment; // the augmentation operations against torchvision's reference arithmetic
mod eval;
mod gradients; // layers and losses against f64 and finite differences
mod import; // archives and folders of every supported layout, and hostile ones
mod kernels; // every fast kernel against its definition, over random shapes and on any number of threads
mod ledger; // records, cache, locks, configuration layers
mod report; // statistics and rendered pages
mod world; // the procedural world: determinism, factors, separability // probe and k-NN
