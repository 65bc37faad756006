//! Titles, descriptions and remarks: believable, and of many shapes and lengths.

use std::fmt::Write;

use super::chance::Chance;

/// A title of 20 to 90 characters; there are some 660,000.
pub(super) fn write_title(chance: &mut Chance, text: &mut String) {
    text.clear();
    let _ = write!(text, "{} the {}", chance.pick(&VERBS), chance.pick(&OBJECTS));
    if chance.percent(70) {
        let _ = write!(text, " of the {}", chance.pick(&PLACES));
    }
    if chance.percent(40) {
        let _ = write!(text, " {}", chance.pick(&CONDITIONS));
    }
}

/// One to eight sentences: 60 to 700 characters.
pub(super) fn write_description(chance: &mut Chance, text: &mut String) {
    text.clear();
    write_sentences(chance, text, 8);
}

/// A remark of one to five sentences.
pub(super) fn write_remark(chance: &mut Chance, text: &mut String) {
    text.clear();
    if chance.percent(25) {
        text.push_str(chance.pick(&REPLIES));
        return;
    }
    write_sentences(chance, text, 5);
}

/// The name of a project, of which there are some 9,000.
pub(super) fn project_name(chance: &mut Chance) -> String {
    format!("{} {} {}", chance.pick(&QUALITIES), chance.pick(&PLACES), 1 + chance.below(9))
}

/// The name of a workspace: two words, to which a number is added.
pub(super) fn workspace_name(chance: &mut Chance) -> (&'static str, &'static str) {
    (chance.pick(&QUALITIES), chance.pick(&TRADES))
}

/// A person's first and last name.
pub(super) fn person(chance: &mut Chance) -> (&'static str, &'static str) {
    (chance.pick(&FIRST_NAMES), chance.pick(&LAST_NAMES))
}

/// One sentence at least, and fewer and fewer of more, up to `most`.
fn write_sentences(chance: &mut Chance, text: &mut String, most: u64) {
    let count = 1 + chance.below(most).min(chance.below(most));
    for number in 0..count {
        let space = if number == 0 { "" } else { " " };
        let _ = write!(text, "{space}{} the {}", chance.pick(&OPENINGS), chance.pick(&OBJECTS));
        let _ = write!(text, " of the {} {}", chance.pick(&PLACES), chance.pick(&FINDINGS));
        if chance.percent(50) {
            let _ = write!(text, " {}", chance.pick(&CONDITIONS));
        }
        text.push('.');
    }
}

const VERBS: [&str; 24] = [
    "Draft",
    "Review",
    "Fix",
    "Measure",
    "Document",
    "Simplify",
    "Test",
    "Replace",
    "Move",
    "Split",
    "Cache",
    "Remove",
    "Translate",
    "Rename",
    "Shorten",
    "Automate",
    "Check",
    "Design",
    "Rewrite",
    "Schedule",
    "Archive",
    "Restore",
    "Encrypt",
    "Compress",
];
const OBJECTS: [&str; 40] = [
    "sign-in page",
    "nightly export",
    "retry policy",
    "search index",
    "error page",
    "upload form",
    "summary",
    "audit trail",
    "welcome mail",
    "tile cache",
    "release note",
    "access list",
    "settings page",
    "backup",
    "date picker",
    "invoice template",
    "queue",
    "rate limit",
    "log format",
    "type check",
    "keyboard shortcut",
    "empty state",
    "print layout",
    "address book",
    "calendar feed",
    "button contrast",
    "load test",
    "help text",
    "image size",
    "mobile menu",
    "notification panel",
    "password rule",
    "permission table",
    "schema",
    "session length",
    "sorting",
    "status page",
    "time zone list",
    "translation",
    "webhook",
];
const PLACES: [&str; 32] = [
    "billing service",
    "mobile app",
    "admin console",
    "partner interface",
    "public site",
    "data warehouse",
    "map editor",
    "route planner",
    "depot",
    "help centre",
    "shop",
    "staging system",
    "invoice run",
    "support desk",
    "job board",
    "field app",
    "sensor network",
    "reporting tool",
    "archive",
    "warehouse",
    "timesheet",
    "gallery",
    "booking desk",
    "fleet dashboard",
    "newsletter",
    "payment provider",
    "photo library",
    "search page",
    "setup wizard",
    "test bench",
    "training course",
    "web client",
];
const CONDITIONS: [&str; 20] = [
    "before the release",
    "for large customers",
    "on slow networks",
    "in dark mode",
    "after the move",
    "for the autumn campaign",
    "with many rows",
    "without JavaScript",
    "on old phones",
    "for new members",
    "during maintenance",
    "in right-to-left languages",
    "at the end of the month",
    "for screen readers",
    "when the disk is full",
    "under load",
    "behind a proxy",
    "with an empty list",
    "in the night run",
    "for the next audit",
];
const OPENINGS: [&str; 16] = [
    "Since yesterday",
    "As agreed,",
    "For most customers",
    "In the last run",
    "On staging",
    "In production",
    "According to the log",
    "In my measurements",
    "After the last change",
    "At first sight",
    "On the second attempt",
    "With the new version",
    "On my machine",
    "As the support desk says,",
    "In the worst case",
    "Apart from that,",
];
const FINDINGS: [&str; 20] = [
    "is slower than it should be",
    "fails now and then",
    "works as described",
    "needs another look",
    "shows the wrong total",
    "is hard to find",
    "has no tests yet",
    "takes twice as long",
    "is done twice",
    "loses the last row",
    "breaks the layout",
    "should be smaller",
    "is blocked by the certificates",
    "is ready for review",
    "can be removed",
    "needs a decision",
    "is three times as fast now",
    "was reported by two customers",
    "depends on the order",
    "looks good to me",
];
const REPLIES: [&str; 12] = [
    "Done.",
    "Thank you!",
    "I can take this one on Thursday.",
    "Reproduced it.",
    "Shipped to staging, looks good.",
    "Please look at the second commit first.",
    "+1",
    "Not before next week, sorry.",
    "Can we talk about this tomorrow?",
    "Numbers before and after are in the description.",
    "Blocked until the new certificates are there.",
    "Agreed.",
];
const QUALITIES: [&str; 32] = [
    "Amber", "Autumn", "Blue", "Bright", "Calm", "Clear", "Coastal", "Copper", "Distant", "Early", "Eastern", "First",
    "Golden", "Granite", "Green", "Harbour", "Hidden", "Inner", "Ivory", "Late", "Lunar", "Mossy", "Northern", "Open",
    "Quiet", "Rapid", "River", "Silver", "Southern", "Steady", "Upper", "Western",
];
const TRADES: [&str; 16] = [
    "Archives",
    "Bakery",
    "Bicycles",
    "Cartography",
    "Clinics",
    "Energy",
    "Ferries",
    "Gardens",
    "Instruments",
    "Logistics",
    "Museums",
    "Optics",
    "Press",
    "Robotics",
    "Theatres",
    "Timber",
];
const FIRST_NAMES: [&str; 32] = [
    "Alma", "Amir", "Anna", "Ben", "Carla", "Chen", "Clara", "Dana", "David", "Elena", "Emil", "Farah", "Finn",
    "Greta", "Hana", "Hugo", "Ines", "Ivan", "Jonas", "Kofi", "Lena", "Luis", "Maya", "Milan", "Nadia", "Noor", "Olga",
    "Pablo", "Rosa", "Samir", "Tara", "Yuki",
];
const LAST_NAMES: [&str; 32] = [
    "Abbott", "Adler", "Baker", "Berg", "Castro", "Cole", "Dietrich", "Evans", "Fischer", "Fontaine", "Garcia", "Haas",
    "Hill", "Ito", "Jensen", "Kaya", "Keller", "Lang", "Lopez", "Marino", "Mensah", "Moreau", "Novak", "Okafor",
    "Petrov", "Quinn", "Rossi", "Sato", "Silva", "Tanaka", "Weber", "Young",
];
