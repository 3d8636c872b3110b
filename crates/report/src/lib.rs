//! Shows what a run has left: [`page`] draws one run or several as a page of HTML that needs nothing beside it, and
//! [`Events`] writes what TensorBoard reads.
//!
//! A [`Run`] is read from its folder's files. Only the norms of an adapter's updates, and the tokens that
//! a prompt lies near to, are given from outside, for no tensor is seen here.

mod curve;
mod error;
mod events;
mod figures;
mod page;
mod run;
mod samples;

pub use error::{Error, Result};
pub use events::{EVENTS, Events};
pub use figures::figures;
pub use page::page;
pub use run::{Facts, LayerNorm, NearToken, Part, Run};
