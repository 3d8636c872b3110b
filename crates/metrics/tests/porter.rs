//! The stemmer against NLTK 3.10.4: words of our own for each rule, and a large table where there is one.

use std::io::Write;
use std::path::Path;

use tallow_metrics::porter::stem;

/// The rule, and words that meet or just miss its condition with their stems by NLTK.
const WORDS: &[(&str, &str)] = &[
    (
        "irregular forms",
        "sky:sky skies:sky dying:die lying:lie tying:tie news:news inning:inning innings:inning outing:outing \
         outings:outing canning:canning cannings:canning howe:howe proceed:proceed exceed:exceed \
         succeed:succeed proceeds:proce",
    ),
    ("1a", "glasses:glass berries:berri dies:die glass:glass lamps:lamp bus:bu"),
    (
        "1b",
        "died:die cried:cri weed:weed agreed:agre baked:bake sting:sting string:string updated:updat \
         doubled:doubl realized:realiz planned:plan hugging:hug spelling:spell missed:miss buzzing:buzz \
         hoping:hope showing:show boxing:box edged:edg used:use",
    ),
    ("1c", "sunny:sunni spy:spi enjoy:enjoy day:day syzygy:syzygi yyyy:yyyi"),
    (
        "2",
        "recreational:recreat fractional:fraction frequency:frequenc constancy:constanc organizer:organ \
         probably:probabl equally:equal currently:current namely:name seriously:serious civilization:civil \
         location:locat narrator:narrat realism:realism attractiveness:attract usefulness:use \
         nervousness:nervous equality:equal activity:activ possibility:possibl playfully:play geology:geolog \
         apology:apolog logi:logi rationally:ration ally:alli",
    ),
    (
        "3",
        "duplicate:duplic talkative:talk normalize:normal simplicity:simplic logical:logic joyful:joy \
         fondness:fond",
    ),
    (
        "4",
        "arrival:arriv performance:perform adherence:adher container:contain periodic:period \
         profitable:profit convertible:convert attendant:attend amusement:amus adjustment:adjust \
         treatment:treatment resident:resid digestion:digest discussion:discuss champion:champion \
         caribou:carib mechanism:mechan elaborate:elabor serenity:seren humorous:humor decorative:decor \
         modernize:modern",
    ),
    ("5a", "debate:debat cease:ceas rate:rate axe:axe ace:ace dye:dye"),
    ("5b", "controlled:control rolled:roll hill:hill"),
    (
        "no rule, or not only letters",
        "a:a ab:ab it's:it' 3rd:3rd 1990s:1990 Éclairs:éclair RUNNING:run café:café",
    ),
];

#[test]
fn every_rule_as_nltk() {
    for (rule, pairs) in WORDS {
        for pair in pairs.split(' ') {
            let (word, expected) = pair.split_once(':').expect("a word, a colon and its stem");
            assert_eq!(stem(word), expected, "{word}, of step {rule}");
        }
    }
}

#[test]
fn any_string_is_taken() {
    for (word, expected) in
        [("", ""), ("ß", "ß"), ("日本", "日本"), ("日本s", "日本"), ("İİİing", "i\u{307}i\u{307}i\u{307}")]
    {
        assert_eq!(stem(word), expected, "{word}");
    }
    assert_eq!(stem(&"y".repeat(100_000)).len(), 100_000);
}

/// The table is of mixed origin and not part of this repository; it is read from beside the workspace.
#[test]
fn large_table_as_nltk() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/goldens/metrics/porter_nltk.tsv");
    // Written rather than printed, so that a run without the table says so although the test passes.
    let mut report = std::io::stderr();
    let Ok(table) = std::fs::read_to_string(&path) else {
        writeln!(report, "porter_nltk.tsv is not here, its words are not tested: {}", path.display())
            .unwrap();
        return;
    };
    let mut words = 0;
    for line in table.lines() {
        let (word, expected) = line.split_once('\t').expect("a word, a tab and its stem");
        assert_eq!(stem(word), expected, "{word}");
        words += 1;
    }
    assert!(words > 0, "{} has no words", path.display());
    writeln!(report, "porter_nltk.tsv: {words} words").unwrap();
}
