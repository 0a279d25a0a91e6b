//! Intervals hold the truth as often as they say, and tests are wrong no more often than they say: by simulation, on
//! independent and on correlated data.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "the shares are the result")]

use sagellm_stats::{
    Batches, Distribution, Estimate, Interval, Series, SplitMix64, Verdict, hodges_lehmann, mann_whitney,
    quantile_interval, step_down, verdict,
};

/// Trials per share; its standard error is then 0.5 % about 95 %.
const TRIALS: u64 = 2000;

/// A series about 20 of which each value keeps `memory` of the one before, with variance 1.
fn series(random: &mut SplitMix64, n: usize, memory: f64) -> Vec<f64> {
    let mut normal = || (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
    let mut state = normal();
    let fresh = (1.0 - memory * memory).sqrt();
    (0..n)
        .map(|_| {
            state = memory * state + fresh * normal();
            20.0 + state
        })
        .collect()
}

/// Values of an exponential distribution with mean 20.
fn skewed(random: &mut SplitMix64, n: usize) -> Vec<f64> {
    (0..n).map(|_| -20.0 * (1.0 - random.unit()).ln()).collect()
}

/// The share of trials in which the interval holds the truth.
fn coverage(truth: f64, mut interval: impl FnMut(&mut SplitMix64, u64) -> Interval) -> f64 {
    let mut random = SplitMix64::new(5);
    let hits = (0..TRIALS).filter(|trial| {
        let Interval { low, high } = interval(&mut random, *trial);
        (low..=high).contains(&truth)
    });
    hits.count() as f64 / TRIALS as f64
}

/// The share of trials in which something happens.
fn share(mut happens: impl FnMut(&mut SplitMix64, u64) -> bool) -> f64 {
    let mut random = SplitMix64::new(7);
    (0..TRIALS).filter(|trial| happens(&mut random, *trial)).count() as f64 / TRIALS as f64
}

fn about_95(what: &str, share: f64) {
    println!("{what}: covered {share}");
    assert!((0.93..=0.97).contains(&share), "{what}: covered {share}");
}

/// The mean of requests of which one ran at a time.
fn mean(values: &[f64]) -> Estimate {
    let mut series = Series::default();
    values.iter().for_each(|value| series.push(*value));
    series.estimate(&Batches::of_closed_loop(values.len() as u64, 1).unwrap()).unwrap()
}

/// A quantile of such requests.
fn quantile(values: &[f64], q: f64) -> Estimate {
    let mut distribution = Distribution::default();
    values.iter().for_each(|value| distribution.push(*value));
    let batches = Batches::of_closed_loop(values.len() as u64, 1).unwrap();
    distribution.ascending().quantile_estimate(q, &batches).unwrap().0
}

#[test]
fn means() {
    for (n, memory) in [(50, 0.0), (500, 0.0), (500, 0.5), (500, 0.8), (2000, 0.9)] {
        let covered = coverage(20.0, |random, _| mean(&series(random, n, memory)).interval);
        about_95(&format!("mean of {n}, memory {memory}"), covered);
    }
    let covered = coverage(20.0, |random, _| mean(&skewed(random, 200)).interval);
    about_95("mean of 200 skewed", covered);
}

/// Rounds of `together` values about 20 that are alike, each with a little of its own: requests that run in step.
fn lockstep(random: &mut SplitMix64, rounds: usize, together: usize) -> Vec<f64> {
    let mut normal = || (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
    (0..rounds)
        .flat_map(|_| {
            let round = 20.0 + normal();
            (0..together).map(|_| round + 0.1 * normal()).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn means_of_requests_in_step() {
    for (rounds, together) in [(10, 10), (30, 10), (100, 4), (40, 32)] {
        let covered = coverage(20.0, |random, _| {
            let mut series = Series::default();
            lockstep(random, rounds, together).into_iter().for_each(|value| series.push(value));
            let batches = Batches::of_closed_loop(series.count(), together as u64).unwrap();
            series.estimate(&batches).unwrap().interval
        });
        about_95(&format!("mean of {rounds} rounds of {together}"), covered);
    }
}

#[test]
fn few_means() {
    for n in [6, 10, 30] {
        let covered = coverage(20.0, |random, _| mean(&series(random, n, 0.0)).interval);
        println!("mean of {n}: covered {covered}");
        // Too careful rather than too bold: the first value shows no spread.
        assert!((0.93..0.99).contains(&covered), "mean of {n}: covered {covered}");
    }
}

#[test]
fn ratios() {
    // Tokens over time, where slow spells last: the time of a request keeps some of the one before.
    for (n, memory) in [(500, 0.0), (500, 0.5)] {
        let covered = coverage(5.0, |random, _| {
            let times = series(random, n, memory);
            let tokens = skewed(random, n);
            let mut series = Series::default();
            times.iter().zip(tokens).for_each(|(time, tokens)| series.push_pair(80.0 + tokens, *time));
            series.estimate(&Batches::of_closed_loop(n as u64, 1).unwrap()).unwrap().interval
        });
        about_95(&format!("ratio of {n}, memory {memory}"), covered);
    }
}

#[test]
fn quantiles() {
    // Of the standard normal distribution: 0, 1.2816, 1.6449.
    for (q, z, n) in [(0.5, 0.0, 500), (0.9, 1.281_551_6, 500), (0.95, 1.644_853_6, 1000)] {
        for memory in [0.0, 0.5] {
            let covered = coverage(20.0 + z, |random, _| quantile(&series(random, n, memory), q).interval);
            about_95(&format!("{q} quantile of {n}, memory {memory}"), covered);
        }
    }
    let covered = coverage(-20.0 * 0.01_f64.ln(), |random, _| {
        let mut values = skewed(random, 1000);
        values.sort_by(f64::total_cmp);
        quantile_interval(&values, 0.99).unwrap()
    });
    about_95("p99 of 1000 skewed", covered);
}

#[test]
fn changes_between_two_runs() {
    for memory in [0.0, 0.5] {
        let mut alarms = 0;
        let covered = coverage(1.1, |random, _| {
            let before = mean(&series(random, 500, memory));
            let now: Vec<f64> = series(random, 500, memory).iter().map(|value| 1.1 * value).collect();
            let same = mean(&series(random, 500, memory));
            alarms += u64::from(same.change_from(&before).unwrap().p_value < 0.05);
            mean(&now).change_from(&before).unwrap().ratio_interval
        });
        about_95(&format!("change of the mean, memory {memory}"), covered);
        about_95(&format!("no alarm about the mean, memory {memory}"), 1.0 - alarms as f64 / TRIALS as f64);
        let covered = coverage(1.1, |random, _| {
            let before = quantile(&series(random, 1000, memory), 0.95);
            let now: Vec<f64> = series(random, 1000, memory).iter().map(|value| 1.1 * value).collect();
            quantile(&now, 0.95).change_from(&before).unwrap().ratio_interval
        });
        about_95(&format!("change of the p95, memory {memory}"), covered);
    }
}

#[test]
fn shifts_between_repeated_runs() {
    for (n, m) in [(5, 5), (10, 8), (40, 40)] {
        let covered = coverage(3.0, |random, _| {
            let before = skewed(random, n);
            let now: Vec<f64> = skewed(random, m).iter().map(|value| value + 3.0).collect();
            hodges_lehmann(&before, &now).unwrap().interval.unwrap()
        });
        println!("shift of {n} and {m}: covered {covered}");
        // With few values the exact ranks are more careful than 95 %: 5 and 5 have 96.8 %.
        assert!((0.935..=0.98).contains(&covered), "{n} and {m}: covered {covered}");
    }
}

#[test]
fn equal_systems_seldom_differ() {
    let by_rank = share(|random, _| mann_whitney(&skewed(random, 8), &skewed(random, 8)).unwrap().p_value <= 0.05);
    let by_rank_of_many =
        share(|random, _| mann_whitney(&skewed(random, 40), &skewed(random, 40)).unwrap().p_value <= 0.05);
    println!("false alarms: {by_rank}, {by_rank_of_many}");
    for alarms in [by_rank, by_rank_of_many] {
        // The truth is at most 5 %; 2000 trials add 1 % by chance.
        assert!((0.025..=0.06).contains(&alarms), "{alarms}");
    }
}

/// Values of `figures` of five runs on either side, as logarithms. Runs differ by about 2 %, and so do their figures, which
/// have half of that in common; the first is `factor` times as large in the second five.
fn runs(random: &mut SplitMix64, figures: usize, factor: f64) -> Vec<Vec<Option<f64>>> {
    let common = series(random, 10, 0.0);
    let mut of = |figure: usize| {
        let own = series(random, 10, 0.0);
        let value = |run: usize| 1.0 + 0.02 * (0.5_f64.sqrt() * (common[run] + own[run]) - 20.0 * 2.0_f64.sqrt());
        let times = |run: usize| if figure == 0 && run >= 5 { factor } else { 1.0 };
        (0..10).map(|run| Some((times(run) * value(run)).ln())).collect()
    };
    (0..figures).map(&mut of).collect()
}

#[test]
fn many_figures_of_repeated_runs_seldom_differ_by_chance() {
    for figures in [1, 36] {
        let wrong = share(|random, seed| step_down(&runs(random, figures, 1.0), 5, seed).iter().any(|p| *p < 0.05));
        // If the first truly differs: of the others, and of itself.
        let mut found = 0.0;
        let of_the_others = share(|random, seed| {
            let p = step_down(&runs(random, figures, 1.15), 5, seed);
            found += f64::from(u8::from(p[0] < 0.05)) / TRIALS as f64;
            p[1..].iter().any(|p| *p < 0.05)
        });
        println!("{figures} figures: wrong {wrong}, {of_the_others}, 15 % found {found}");
        // The truth is at most 5 %; 2000 trials add 1 % by chance.
        assert!(wrong > 0.03 && wrong <= 0.06 && of_the_others <= 0.06, "{figures} figures: {wrong} {of_the_others}");
        assert!(found > 0.95, "{figures} figures: {found}");
    }
}

/// One A/A or A/B trial: five runs on either side, twelve figures; the verdicts.
fn trial(random: &mut SplitMix64, slower: f64) -> Vec<Verdict> {
    let figures = runs(random, 12, slower);
    let judge = |(values, p): (&Vec<Option<f64>>, f64)| {
        let values: Vec<f64> = values.iter().flatten().copied().collect();
        let shift = hodges_lehmann(&values[..5], &values[5..]).unwrap();
        let interval = shift.interval.unwrap();
        let share = Interval { low: interval.low.exp_m1(), high: interval.high.exp_m1() };
        verdict(shift.shift.exp_m1(), share, p, 0.02, false, 5)
    };
    figures.iter().zip(step_down(&figures, 5, 0)).map(judge).collect()
}

#[test]
fn verdicts_on_equal_systems_seldom_accuse() {
    let accused =
        share(|random, _| trial(random, 1.0).iter().any(|verdict| matches!(verdict, Verdict::Better | Verdict::Worse)));
    println!("accused {accused}");
    assert!(accused <= 0.05, "{accused} of A/A trials with twelve figures");
    let worse = share(|random, _| trial(random, 1.15)[0] == Verdict::Worse);
    assert!(worse > 0.9, "15 % slower is found in {worse}");
}
