//! The integration tests: one binary, so that they link once.

mod devices;
mod full_disk;
mod golden_checker;
mod golden_gpt;
mod golden_layers;
mod golden_losses;
mod golden_ops;
mod golden_ops_reductions;
mod golden_ops_shapes;
mod golden_optimizers;
mod graph;
mod ops;
mod peer_bugs;
mod registry;
mod tidy;
mod train_gpt;
mod views;
