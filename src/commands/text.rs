//! Checks input before any SQL, and gathers every fault of it.

use crate::error::{UserError, UserErrorCode};

/// The faults of one input.
#[derive(Default)]
pub(super) struct Faults(pub(super) Vec<UserError>);

impl Faults {
    /// Adds a fault.
    pub(super) fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(UserError::of(field, UserErrorCode::Invalid, message));
    }

    /// Checks a name or a title: some text besides blanks, on one line, of at most `max` characters.
    pub(super) fn check_line(&mut self, field: &str, text: &str, max: usize) {
        if text.chars().any(char::is_control) {
            self.add(field, "Must be one line without control characters.");
        }
        self.check_body(field, text, max);
    }

    /// Checks longer text: some text besides blanks, of at most `max` characters.
    pub(super) fn check_body(&mut self, field: &str, text: &str, max: usize) {
        if text.trim().is_empty() {
            self.add(field, "Must not be empty.");
        }
        self.check_length(field, text, max);
    }

    /// Checks text that may be empty.
    pub(super) fn check_length(&mut self, field: &str, text: &str, max: usize) {
        let length = text.chars().count();
        if length > max {
            self.add(field, format!("Must have at most {max} characters; it has {length}."));
        }
        if text.contains('\0') {
            self.add(field, "Must not contain the NUL character.");
        }
    }
}
