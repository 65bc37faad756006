//! One statement a level: keys are gathered while resolvers run, and loaded together when the request is quiet.

mod gate;
mod loader;

pub use gate::Gate;
pub use loader::{Batches, Key, Scope};
