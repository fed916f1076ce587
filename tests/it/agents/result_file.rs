//! What an agent hands back, or fails to.
//!
//! Invariant: the verdict decides only towards caution: what cannot be read may have been "no fix".

use super::{fixer_after, fixer_before, published, refused};
use crate::program::Described;

#[tokio::test]
async fn an_agent_that_changes_nothing_ends_without_a_pull_request_and_with_its_words() {
    let sentence = refused(Described::with_agent("echo 'I looked at everything'")).await;
    assert_eq!(sentence, "no pull request: the agent changed nothing; its last words: I looked at everything");
}

#[tokio::test]
async fn a_verdict_of_no_fix_is_the_outcome_and_what_was_changed_is_not_published() {
    let verdict = r#"printf '{"verdict": "no_fix", "root_cause": "the disk is full", "summary": "make it larger"}' > "$PATCHWRIGHT_RESULT_FILE""#;
    let sentence = refused(fixer_before(verdict)).await;
    assert_eq!(sentence, "no pull request: the agent found no fix in code: the disk is full — make it larger");
}

#[tokio::test]
async fn without_a_result_file_the_change_speaks_for_itself() {
    let (service, _) = published(fixer_before("rm \"$PATCHWRIGHT_RESULT_FILE\"")).await;
    let body = service.pull_request_body(1);
    assert!(body.contains("the agent is done"), "{body}");
}

#[tokio::test]
async fn a_result_whose_verdict_cannot_be_read_is_no_pull_request_and_is_told() {
    let sentence = refused(fixer_before("printf '{\"verdict\": ' > \"$PATCHWRIGHT_RESULT_FILE\"; exit 3")).await;
    let told = "no pull request: the agent did not finish: it ended with exit code 3, but the result file is not the JSON \
                that was asked for: ";
    assert!(sentence.starts_with(told), "{sentence}");
}

#[tokio::test]
async fn a_verdict_of_no_fix_counts_however_it_is_written() {
    let verdict = "printf '```json\n{\"verdict\": \"No-Fix\", \"summary\": \"it is\nthe disk\", \"tests\": null}\n```\n' \
                   > \"$PATCHWRIGHT_RESULT_FILE\"";
    let sentence = refused(fixer_before(verdict)).await;
    assert_eq!(sentence, "no pull request: the agent found no fix in code: it is the disk");
}

#[tokio::test]
async fn a_huge_result_file_is_not_read() {
    let sentence = refused(fixer_before("head -c 3000000 /dev/zero > \"$PATCHWRIGHT_RESULT_FILE\"")).await;
    assert!(sentence.ends_with("but the result file is larger than 262144 bytes"), "{sentence}");
}

#[tokio::test]
async fn a_result_file_that_is_a_link_is_not_followed() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), r#"{"verdict": "no_fix", "summary": "canary-behind-the-link"}"#).unwrap();
    let link = format!("ln -sf {} \"$PATCHWRIGHT_RESULT_FILE\"", secret.path().display());
    let sentence = refused(fixer_before(&link)).await;
    assert!(sentence.contains("but the result file could not be opened"), "{sentence}");
    assert!(!sentence.contains("canary"), "{sentence}");
}

#[tokio::test]
async fn a_result_file_that_is_a_pipe_holds_nobody_up() {
    let pipe = "rm \"$PATCHWRIGHT_RESULT_FILE\"; mkfifo \"$PATCHWRIGHT_RESULT_FILE\"";
    let sentence = refused(fixer_before(pipe)).await;
    assert!(sentence.ends_with("but the result file is not a regular file"), "{sentence}");
}

#[tokio::test]
async fn a_result_that_claims_a_fix_without_a_change_is_no_pull_request() {
    let claim = r#"printf '{"verdict": "fix", "summary": "all is well now"}' > "$PATCHWRIGHT_RESULT_FILE""#;
    let sentence = refused(Described::with_agent(claim)).await;
    assert_eq!(sentence, "no pull request: the agent changed nothing; its last words: all is well now");
}

#[tokio::test]
async fn output_that_is_no_text_is_kept_readable() {
    let (service, job) = published(fixer_after("printf '\\377\\376 \\033[2J bell\\007\\n'")).await;
    let shown = service.run(&["jobs", "show", &job.id.to_string()]).await;
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(text.contains("bell") && !text.contains('\x1b') && !text.contains('\x07'), "{text}");
    assert!(text.contains("│ the agent is done"), "{text}");
}
