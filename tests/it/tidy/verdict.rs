//! What a rule says about the places that break it.
//!
//! Invariant: an exception has a reason and an exact number, so that the number can only be lowered.

/// A place that breaks a rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Breach {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) what: String,
}

/// A file that may break a rule, so many times, for a reason.
pub(super) struct Exception {
    pub(super) file: &'static str,
    pub(super) count: usize,
    pub(super) reason: &'static str,
}

/// A house rule.
pub(super) struct Rule {
    pub(super) says: &'static str,
    pub(super) why: &'static str,
    pub(super) exceptions: &'static [Exception],
}

impl Rule {
    /// A rule without exceptions.
    pub(super) const fn new(says: &'static str, why: &'static str) -> Self {
        Self { says, why, exceptions: &[] }
    }

    /// Fails the test with every place that breaks the rule.
    #[track_caller]
    pub(super) fn hold(&self, breaches: Vec<Breach>) {
        if let Err(text) = self.judge(breaches) {
            panic!("{text}");
        }
    }

    fn judge(&self, mut breaches: Vec<Breach>) -> Result<(), String> {
        breaches.sort();
        let mut lines = Vec::new();
        for Exception { file, count, reason } in self.exceptions {
            let found = breaches.iter().filter(|breach| breach.file == *file).count();
            if found <= *count {
                breaches.retain(|breach| breach.file != *file);
            }
            if found < *count {
                lines.push(format!(
                    "{file}: breaks the rule {found} times, no longer {count} times ({reason}): lower the count of the \
                     exception, or remove it"
                ));
            }
        }
        lines.extend(breaches.into_iter().map(|Breach { file, line, what }| format!("{file}:{line}: {what}")));
        if lines.is_empty() {
            return Ok(());
        }
        Err(format!("{}\n  rule: {}\n  why:  {}", lines.join("\n"), self.says, self.why))
    }
}

const RULE: Rule = Rule {
    says: "no crumbs",
    why: "ants",
    exceptions: &[Exception { file: "kitchen.rs", count: 2, reason: "people eat there" }],
};

fn breaches(file: &str, count: usize) -> Vec<Breach> {
    (1..=count).map(|line| Breach { file: file.to_owned(), line, what: "a crumb".to_owned() }).collect()
}

#[test]
fn a_breach_is_told_with_its_place_the_rule_and_the_reason() {
    let text = Rule::new("no crumbs", "ants").judge(breaches("hall.rs", 1)).unwrap_err();
    assert_eq!(text, "hall.rs:1: a crumb\n  rule: no crumbs\n  why:  ants");
}

#[test]
fn an_exception_covers_its_own_file_and_its_own_number() {
    assert_eq!(RULE.judge(breaches("kitchen.rs", 2)), Ok(()));
    assert!(RULE.judge([breaches("kitchen.rs", 2), breaches("hall.rs", 1)].concat()).is_err());
    assert_eq!(RULE.judge(breaches("kitchen.rs", 3)).unwrap_err().matches("a crumb").count(), 3);
}

#[test]
fn an_exception_that_is_larger_than_needed_has_to_be_lowered() {
    assert!(RULE.judge(breaches("kitchen.rs", 1)).unwrap_err().contains("lower the count"));
    assert!(RULE.judge(Vec::new()).unwrap_err().contains("remove it"));
}
