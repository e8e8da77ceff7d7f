//! The abstract syntax to a program: names, arguments, shapes, units and rules between sections.

pub mod program;
