//! `report`: kept results as one page.

pub mod args;
pub mod page;
pub mod run;
pub mod sections;
