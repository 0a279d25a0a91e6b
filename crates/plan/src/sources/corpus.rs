//! Readable English without end: sentences from templates, about the small affairs of a town.
//!
//! Everything is ASCII, so that a byte-level tokenizer makes one token of each character.

use crate::random::Random;

/// First names, at most five letters, so that a name tells two prompts apart within a few tokens of any tokenizer.
const FIRST: [&str; 96] = [
    "Ada", "Alma", "Amy", "Anna", "Arlo", "Asa", "Ben", "Bert", "Beth", "Bram", "Cara", "Carl", "Cleo", "Cora",
    "Cyrus", "Dale", "Dan", "Dina", "Dora", "Drew", "Earl", "Edda", "Ella", "Elsa", "Emil", "Emma", "Enid", "Erik",
    "Esme", "Eva", "Ezra", "Faye", "Finn", "Flora", "Fred", "Gail", "Gene", "Gina", "Glen", "Greta", "Gus", "Hal",
    "Hana", "Hazel", "Hugo", "Ida", "Igor", "Ines", "Ira", "Iris", "Ivan", "Jack", "Jane", "Jonas", "Josef", "Judy",
    "Kai", "Karl", "Kate", "Knut", "Lars", "Lena", "Leo", "Lily", "Lola", "Luis", "Mara", "Mark", "Max", "Maya",
    "Milo", "Mina", "Nadia", "Neil", "Nils", "Nora", "Olga", "Omar", "Otto", "Paul", "Pia", "Ralph", "Rita", "Rolf",
    "Rosa", "Ruth", "Sam", "Sara", "Sven", "Tara", "Theo", "Tove", "Uma", "Vera", "Will", "Zoe",
];

/// Family names, at most six letters.
const LAST: [&str; 96] = [
    "Abbott", "Acker", "Ames", "Archer", "Baker", "Banks", "Barlow", "Beck", "Bell", "Berg", "Blake", "Bloom", "Boyd",
    "Brandt", "Brook", "Brown", "Burke", "Carter", "Chase", "Clark", "Cole", "Cooper", "Cross", "Dale", "Dalton",
    "Davis", "Dean", "Dixon", "Doyle", "Drake", "Dunn", "Eaton", "Ellis", "Evans", "Falk", "Farmer", "Field", "Finch",
    "Fisher", "Flint", "Ford", "Foster", "Fox", "Frost", "Gray", "Green", "Hale", "Hall", "Harper", "Hart", "Hayes",
    "Hill", "Holm", "Holt", "Hughes", "Hunt", "Irving", "Jensen", "Kane", "Keller", "King", "Knight", "Lake", "Lamb",
    "Lane", "Lind", "Lowe", "Marsh", "Mason", "Meyer", "Miller", "Moss", "Nash", "North", "Olsen", "Page", "Parker",
    "Perry", "Pike", "Porter", "Price", "Quinn", "Reed", "Rhodes", "Rivers", "Ross", "Sawyer", "Shaw", "Stone",
    "Swift", "Tanner", "Turner", "Vance", "Walsh", "West", "Young",
];

/// How a prompt begins, after the name.
const OPENINGS: [&str; 16] = [
    "kept a diary of {small} things, and on this page it tells of {place}.",
    "came to {place} one {season} with {thing} and no plan at all.",
    "had been {trade} for {number} years when the letter arrived.",
    "wrote to the council about {thing} near {place}.",
    "liked to get up early, before {crowd} reached {place}.",
    "was asked to explain {subject} to {crowd}.",
    "knew more about {subject} than anyone at {place}.",
    "promised to repair {thing} before the end of {season}.",
    "told the story of {place} to whoever would listen.",
    "had never seen {place} in {season} until that week.",
    "spent {number} days looking for {thing}.",
    "met {crowd} at {place} and made a list of questions.",
    "learned {subject} from {trade} who lived next door.",
    "bought {thing} from {trade} and wondered what to do with it.",
    "opened the door of {place} and found {thing} on the floor.",
    "drew a map of {place} for {crowd}.",
];

/// The sentences that follow.
const SENTENCES: [&str; 48] = [
    "The road to {place} was {state}, so {crowd} took the long way round.",
    "In {season} the work began at six and went on until the light was gone.",
    "Nobody could say who had left {thing} there, but everyone had an idea.",
    "{Number} people signed the paper, and {number} more said they would think about it.",
    "It was {trade} who noticed first that {thing} was missing.",
    "{Crowd} stood in the rain and waited for news.",
    "The older books say little about {subject}, and what they say is {state}.",
    "For {number} weeks the bell at {place} did not ring.",
    "A {small} box under the stairs held {thing} and a note in pencil.",
    "The note said that {place} should be kept {state} until {season}.",
    "Most of what is known about {subject} was written down by {trade}.",
    "When the wind turned, the smell of bread came over from {place}.",
    "{Crowd} had brought soup, a lamp and {thing}.",
    "There was {small} talk about the weather and long talk about {subject}.",
    "By noon the floor was swept and {thing} stood by the window again.",
    "The price of {goods} had gone up for the third time since {season}.",
    "Every morning {trade} carried {goods} across the square.",
    "A child asked why {place} had {number} doors and only one key.",
    "The answer was {state}, and it made {crowd} laugh.",
    "Later that day a boat brought {goods} and a sack of letters.",
    "One of the letters was about {subject} and had no name at the end.",
    "It took {number} hours to read all of them aloud.",
    "{Season} was the time for {goods}, and the market was full.",
    "Behind {place} there is a path that few people use.",
    "The path leads past {thing} to a gate that is always {state}.",
    "{Trade} once measured it and counted {number} steps.",
    "People say that {subject} is mostly patience and a good pair of shoes.",
    "After supper the talk came back to {thing}.",
    "Someone had seen it at {place}, or thought so.",
    "The lamp was {state}, and the clock was {number} minutes slow.",
    "At the school, {subject} was taught on Mondays by {trade}.",
    "{Crowd} agreed to meet again when the snow was gone.",
    "The minutes of that meeting fill {number} pages.",
    "Page two has a drawing of {thing}, with the sizes in the margin.",
    "Below it there is a list of {goods}, and who would pay for what.",
    "None of this was a secret, but it was never said in so many words.",
    "A photograph from that year shows {crowd} in front of {place}.",
    "The third person from the left is {trade}.",
    "If you ask at {place} today, they will show you {thing}.",
    "It is {state} now, but it still works.",
    "The river rose in {season} and carried off {goods}.",
    "It also carried {thing} as far as the second bridge.",
    "{Trade} fished it out and set it on the wall to dry.",
    "So {subject} became a thing that even {crowd} cared about.",
    "Some of the neighbours moved away, and {number} of them came back.",
    "They had missed the bread, the bell and {place}.",
    "On the last evening there was music, and {goods} for all.",
    "What happened next depends on whom you ask.",
];

/// The text that prompts with a common beginning begin with; longer ones go on with sentences.
pub(crate) const PREFACE: &str = "You answer questions about one small town. Read this page first.";

/// The words for each slot of the templates.
const SLOTS: [(&str, &[&str]); 9] = [
    (
        "place",
        &[
            "the harbour",
            "the old mill",
            "the library",
            "the railway yard",
            "the market hall",
            "the weather station",
            "the glass house",
            "the north bridge",
            "the town hall",
            "the boat shed",
            "the school garden",
            "the lighthouse",
            "the bakery",
            "the printing shop",
            "the quarry",
            "the music room",
            "the ferry landing",
            "the clock tower",
            "the orchard",
            "the museum cellar",
            "the post office",
            "the tram depot",
            "the observatory",
            "the dry dock",
        ],
    ),
    (
        "thing",
        &[
            "a brass key",
            "the green ladder",
            "an unfinished map",
            "a box of lenses",
            "the second clock",
            "a broken radio",
            "the blue notebook",
            "a coil of rope",
            "the copper kettle",
            "an old camera",
            "a wooden flute",
            "the spare wheel",
            "a roll of canvas",
            "the rain gauge",
            "a paper kite",
            "the iron gate",
            "a jar of seeds",
            "the signal lamp",
            "a stack of plates",
            "the long bench",
            "a sewing machine",
            "the weather vane",
            "a bicycle pump",
            "the visitors' book",
        ],
    ),
    (
        "trade",
        &[
            "the baker",
            "a retired pilot",
            "the librarian",
            "a young surveyor",
            "the night porter",
            "a piano tuner",
            "the ferryman",
            "a watchmaker",
            "the gardener",
            "a travelling dentist",
            "the schoolmaster",
            "a bookbinder",
            "the carpenter",
            "a nurse",
            "the bus driver",
            "a beekeeper",
            "the printer",
            "a geologist",
            "the cook",
            "a signalman",
        ],
    ),
    (
        "crowd",
        &[
            "the fishermen",
            "the children",
            "half the street",
            "the choir",
            "the visitors",
            "the night shift",
            "the neighbours",
            "the students",
            "two cousins",
            "the whole council",
            "the apprentices",
            "a few strangers",
            "the volunteers",
            "the rowing club",
            "some farmers",
            "the chess players",
        ],
    ),
    (
        "subject",
        &[
            "the tide",
            "bread",
            "steam",
            "the winter sky",
            "bee keeping",
            "the price of coal",
            "map making",
            "good mortar",
            "bird song",
            "the history of locks",
            "apple growing",
            "rope work",
            "the movement of clouds",
            "the telegraph",
            "the care of tools",
            "the slow river",
            "bell tuning",
            "the first railway",
        ],
    ),
    ("season", &["spring", "summer", "autumn", "winter", "April", "May", "June", "September", "October", "November"]),
    (
        "number",
        &["two", "three", "four", "five", "six", "seven", "nine", "eleven", "twelve", "fifteen", "twenty", "forty"],
    ),
    (
        "state",
        &["closed", "half empty", "very quiet", "still wet", "in good order", "too narrow", "hard to find", "dusty"],
    ),
    ("small", &["small", "plain", "short", "simple", "pleasant", "quiet", "narrow", "useful"]),
];

/// What is bought and sold; a slot too.
const GOODS: [&str; 14] = [
    "apples",
    "salt",
    "timber",
    "candles",
    "fresh fish",
    "flour",
    "lamp oil",
    "wool",
    "nails",
    "cheese",
    "tin plates",
    "firewood",
    "paper",
    "onions",
];

/// How many names there are: this many prompts begin differently before a number has to be put in front.
const NAMES: usize = FIRST.len() * LAST.len();

/// Gives every prompt of a workload a beginning of its own.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    step: usize,
    first: usize,
}

impl Names {
    pub(crate) fn new(random: &mut Random) -> Self {
        // Every name is visited once: 6k + 1 shares no factor with 96² = 2¹⁰·3².
        Self { step: 6 * (16 + random.below(NAMES / 6 - 16)) + 1, first: random.below(NAMES) }
    }

    /// The name at `index`, different for every index.
    pub(crate) fn get(&self, index: usize) -> String {
        let (round, index) = (index / NAMES, index % NAMES);
        let place = (self.first + index * self.step) % NAMES;
        let name = format!("{} {}", FIRST[place / LAST.len()], LAST[place % LAST.len()]);
        if round == 0 { name } else { format!("{}. {name}", round + 1) }
    }
}

/// A text without end, sentence by sentence; no template comes twice before all have come once.
#[derive(Clone, Debug)]
pub(crate) struct Passage {
    random: Random,
    unused: Vec<&'static str>,
    first: Option<String>,
}

impl Passage {
    /// A passage that begins with the given words.
    pub(crate) fn beginning(first: &str, random: Random) -> Self {
        Self { random, unused: Vec::new(), first: Some(first.into()) }
    }

    /// A passage about `name`.
    pub(crate) fn about(name: &str, mut random: Random) -> Self {
        let template = random.pick(&OPENINGS);
        let first = format!("{name} {}", fill(&mut random, template));
        Self { random, unused: Vec::new(), first: Some(first) }
    }

    /// The same passage, a paragraph below `text`.
    #[must_use]
    pub(crate) fn below(mut self, text: &str) -> Self {
        self.first = self.first.map(|first| format!("{text}\n\n{first}"));
        self
    }

    /// The next sentence.
    pub(crate) fn sentence(&mut self) -> String {
        if let Some(first) = self.first.take() {
            return first;
        }
        if self.unused.is_empty() {
            self.unused = SENTENCES.to_vec();
        }
        let template = self.unused.swap_remove(self.random.below(self.unused.len()));
        fill(&mut self.random, template)
    }
}

/// The template with a word in each slot; a slot named with a capital makes its word begin with one.
fn fill(random: &mut Random, template: &str) -> String {
    let mut text = String::with_capacity(2 * template.len());
    let mut parts = template.split(['{', '}']);
    while let Some(plain) = parts.next() {
        text.push_str(plain);
        if let Some(slot) = parts.next() {
            let words = words(&slot.to_ascii_lowercase());
            let word = random.pick(words);
            match word.split_at_checked(1) {
                Some((initial, rest)) if slot.starts_with(char::is_uppercase) => {
                    text.push_str(&initial.to_ascii_uppercase());
                    text.push_str(rest);
                }
                _ => text.push_str(word),
            }
        }
    }
    text
}

fn words(slot: &str) -> &'static [&'static str] {
    let found = SLOTS.iter().find(|(name, _)| *name == slot).map(|(_, words)| *words);
    found.unwrap_or(&GOODS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_slot_of_every_template_has_words_of_its_own() {
        let known: HashSet<&str> = SLOTS.iter().map(|(name, _)| *name).chain(["goods"]).collect();
        for template in OPENINGS.iter().chain(&SENTENCES) {
            let parts: Vec<&str> = template.split(['{', '}']).collect();
            assert_eq!(parts.len() % 2, 1, "a brace is missing in: {template}");
            for slot in parts.iter().skip(1).step_by(2) {
                assert!(known.contains(slot.to_ascii_lowercase().as_str()), "unknown slot in: {template}");
            }
            assert!(template.ends_with('.') && template.is_ascii());
        }
    }

    #[test]
    fn names_are_short_ascii_and_all_different() {
        for (list, longest) in [(FIRST, 5), (LAST, 6)] {
            assert_eq!(list.iter().collect::<HashSet<_>>().len(), list.len());
            assert!(list.iter().all(|name| name.len() <= longest && name.is_ascii()));
        }
        for seed in 0..5 {
            let names = Names::new(&mut crate::random::stream(seed, &["names"], 0));
            let all: HashSet<String> = (0..NAMES + 100).map(|index| names.get(index)).collect();
            assert_eq!(all.len(), NAMES + 100);
        }
    }

    #[test]
    fn sentences_begin_with_a_capital_and_have_no_holes() {
        let random = crate::random::stream(1, &["text"], 0);
        let mut passage = Passage::about("Ada Stone", random);
        assert!(passage.sentence().starts_with("Ada Stone "));
        for _ in 0..1000 {
            let text = passage.sentence();
            assert!(text.starts_with(|c: char| c.is_ascii_uppercase()), "{text}");
            assert!(!text.contains(['{', '}']) && !text.contains("  "), "{text}");
        }
    }

    #[test]
    fn no_template_comes_twice_before_all_have_come() {
        let mut passage = Passage::beginning("Once.", crate::random::stream(2, &["text"], 0));
        passage.sentence();
        let template = |sentence: &str| SENTENCES.iter().position(|template| fits(template, sentence));
        let round: Vec<_> = (0..SENTENCES.len()).filter_map(|_| template(&passage.sentence())).collect();
        assert_eq!(round.iter().collect::<HashSet<_>>().len(), SENTENCES.len());
    }

    /// Whether the sentence holds the template's fixed words, in their order.
    fn fits(template: &str, sentence: &str) -> bool {
        let fixed = template.split(['{', '}']).step_by(2);
        let mut rest = sentence;
        fixed.into_iter().all(|words| match rest.find(words) {
            Some(at) => {
                rest = &rest[at + words.len()..];
                true
            }
            None => false,
        })
    }
}
