//! Every process is what its name says, on many seeds.

use super::*;
use proptest::prelude::*;
use sagellm_core::{RampShape, RatePhase};

const COUNT: usize = 4000;

/// Gaps in seconds.
fn gaps(rate: f64, burstiness: f64, seed: u64) -> Vec<f64> {
    let offsets: Vec<Nanos> = Offsets::new(&Arrival::Gamma { rate, burstiness }, 0, seed).take(COUNT).collect();
    assert!(offsets.is_sorted());
    let before = std::iter::once(&0).chain(&offsets);
    offsets.iter().zip(before).map(|(at, before)| (at - before) as f64 / 1e9).collect()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Six standard errors on each: one false alarm in 10⁸.
    #[test]
    fn gaps_have_the_mean_the_spread_and_the_independence_asked_for(
        seed: u64,
        rate in 0.1_f64..100.0,
        burstiness in prop_oneof![Just(1.0), 0.3_f64..20.0],
    ) {
        let gaps = gaps(rate, burstiness, seed);
        let n = COUNT as f64;
        let average = mean(gaps.iter().copied());
        let variance = mean(gaps.iter().map(|gap| (gap - average).powi(2)));
        let cv = variance.sqrt() / average;
        let wanted_cv = 1.0 / burstiness.sqrt();

        prop_assert!((average * rate - 1.0).abs() < 6.0 * wanted_cv / n.sqrt(), "mean {average} at {rate}/s");
        // The variance of a sample variance: kurtosis of a gamma variate is 3 + 6/shape.
        let error = (2.0 + 6.0 / burstiness).sqrt() / 2.0 + wanted_cv;
        prop_assert!((cv / wanted_cv - 1.0).abs() < 6.0 * error / n.sqrt(), "CV {cv}, wanted {wanted_cv}");
        let lag: f64 = gaps.windows(2).map(|pair| (pair[0] - average) * (pair[1] - average)).sum();
        let correlation = lag / n / variance;
        prop_assert!(correlation.abs() < 6.0 / n.sqrt(), "lag-1 correlation {correlation}");
    }

    /// Counts of a Poisson process per second have a variance equal to their mean.
    #[test]
    fn burstiness_one_counts_like_a_poisson_process(seed: u64) {
        const RATE: f64 = 10.0;
        let poisson = Arrival::Poisson { rate: RATE };
        let offsets: Vec<Nanos> = Offsets::new(&poisson, 0, seed).take(COUNT).collect();
        let seconds = (offsets[COUNT - 1] / 1_000_000_000) as usize;
        let mut counts = vec![0.0; seconds];
        for at in offsets {
            if let Some(count) = counts.get_mut((at / 1_000_000_000) as usize) {
                *count += 1.0;
            }
        }
        let average = mean(counts.iter().copied());
        let dispersion = mean(counts.iter().map(|count| (count - average).powi(2))) / average;
        prop_assert!((dispersion - 1.0).abs() < 6.0 * (2.0 / seconds as f64).sqrt(), "dispersion {dispersion}");
    }

    /// Kolmogorov and Smirnov's distance to the exponential distribution; 2.9/√n is exceeded once in 10⁷.
    #[test]
    fn burstiness_one_has_exponential_gaps(seed: u64) {
        let mut gaps = gaps(1.0, 1.0, seed);
        gaps.sort_unstable_by(f64::total_cmp);
        let n = COUNT as f64;
        let distance = gaps
            .iter()
            .zip(0..)
            .map(|(gap, rank)| {
                let wanted = 1.0 - (-gap).exp();
                (f64::from(rank) / n - wanted).abs().max((f64::from(rank + 1) / n - wanted).abs())
            })
            .fold(0.0, f64::max);
        prop_assert!(distance < 2.9 / n.sqrt(), "distance {distance}");
    }

    #[test]
    fn extreme_parameters_give_finite_ascending_offsets(
        seed: u64,
        rate in prop_oneof![Just(f64::MIN_POSITIVE), Just(1e300), 1e-9_f64..1e9],
        burstiness in prop_oneof![Just(1e-9), Just(1e12), 1e-3_f64..1e3],
    ) {
        let offsets: Vec<Nanos> = Offsets::new(&Arrival::Gamma { rate, burstiness }, 0, seed).take(50).collect();
        prop_assert!(offsets.is_sorted());
    }
}

/// Every kind of process with random gaps, with parameters drawn at random.
fn random_process() -> impl Strategy<Value = Arrival> {
    let shape = || prop_oneof![Just(1.0), 0.3_f64..8.0];
    let rate = || 1.0_f64..200.0;
    let ramp = prop_oneof![Just(RampShape::Linear), Just(RampShape::Exponential)];
    let phase = (rate(), 0.5_f64..20.0).prop_map(|(rate, for_s)| RatePhase { rate, for_s });
    prop_oneof![
        rate().prop_map(|rate| Arrival::Poisson { rate }),
        (rate(), shape()).prop_map(|(rate, burstiness)| Arrival::Gamma { rate, burstiness }),
        (rate(), 0.2_f64..10.0, 0.2_f64..10.0, shape()).prop_map(|(rate, on_s, off_s, burstiness)| Arrival::OnOff {
            rate,
            on_s,
            off_s,
            burstiness
        }),
        (rate(), rate(), proptest::option::of(1.0_f64..60.0), ramp, shape()).prop_map(
            |(from_rate, to_rate, over_s, shape, burstiness)| {
                Arrival::Ramp { from_rate, to_rate, over_s, shape, burstiness }
            }
        ),
        (proptest::collection::vec(phase, 1..5), shape())
            .prop_map(|(phases, burstiness)| Arrival::Phases { phases, burstiness }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The time-rescaling theorem: measured by the integral of the rate, the gaps of every process are independent, of
    /// mean 1 and of its gamma distribution. Six standard errors on each; 2.9/√n for the distance.
    #[test]
    fn unit_gaps_of_every_process_have_its_law(arrival in random_process(), seed: u64) {
        let offsets: Vec<Nanos> = Offsets::new(&arrival, COUNT as u64, seed).take(COUNT).collect();
        prop_assert!(offsets.is_sorted());
        let mut rescaled = Rescaled::new(&arrival, COUNT as u64).unwrap();
        let shape = rescaled.burstiness();
        let passed: Vec<f64> = offsets.iter().map(|at| rescaled.passed(*at)).collect();
        let before = std::iter::once(&0.0).chain(&passed);
        let mut gaps: Vec<f64> = passed.iter().zip(before).map(|(now, before)| now - before).collect();
        let n = COUNT as f64;
        let average = mean(gaps.iter().copied());
        let variance = mean(gaps.iter().map(|gap| (gap - average).powi(2)));
        prop_assert!((average - 1.0).abs() < 6.0 / (shape * n).sqrt(), "mean {average}");
        // The variance of a sample variance of unit mean: (2 + 6/shape)/shape²/n.
        let error = ((2.0 + 6.0 / shape) / n).sqrt() / shape;
        prop_assert!((variance - 1.0 / shape).abs() < 6.0 * error, "variance {variance}, wanted {}", 1.0 / shape);
        let lag: f64 = gaps.windows(2).map(|pair| (pair[0] - average) * (pair[1] - average)).sum();
        prop_assert!((lag / n / variance).abs() < 6.0 / n.sqrt(), "lag-1 correlation {}", lag / n / variance);
        gaps.sort_unstable_by(f64::total_cmp);
        let distance = gaps.iter().zip(0..).map(|(gap, rank)| {
            let wanted = crate::survey::unit_mean_cdf(shape, *gap);
            (f64::from(rank) / n - wanted).abs().max((f64::from(rank + 1) / n - wanted).abs())
        });
        let distance = distance.fold(0.0, f64::max);
        prop_assert!(distance < 2.9 / n.sqrt(), "distance {distance}");
    }

    /// Constant gaps and bursts are what they say to the nanosecond.
    #[test]
    fn even_processes_are_even(rate in 0.1_f64..1000.0, size in 1_u32..20, every_s in 0.01_f64..10.0, seed: u64) {
        for (nth, at) in (0_u32..).zip(Offsets::new(&Arrival::Constant { rate }, 0, seed).take(500)) {
            prop_assert!((at as f64 - f64::from(nth) * 1e9 / rate).abs() <= 1.0);
        }
        for (nth, at) in (0_u32..).zip(Offsets::new(&Arrival::Burst { size, every_s }, 0, seed).take(500)) {
            prop_assert!((at as f64 - f64::from(nth / size) * every_s * 1e9).abs() <= 1.0);
        }
    }

    /// Nothing is due while an on-off process is off, or in a phase of rate 0.
    #[test]
    fn silence_is_kept(rate in 10.0_f64..200.0, on_s in 0.5_f64..3.0, off_s in 0.5_f64..3.0, seed: u64) {
        let arrival = Arrival::OnOff { rate, on_s, off_s, burstiness: 1.0 };
        for at in Offsets::new(&arrival, 0, seed).take(1000) {
            let within = (at as f64 / 1e9) % (on_s + off_s);
            prop_assert!(within <= on_s + 1e-6 || within >= on_s + off_s - 1e-6, "{within} of {on_s}");
        }
        let phases = vec![RatePhase { rate: 0.0, for_s: off_s }, RatePhase { rate, for_s: 1.0 }];
        let first = Offsets::new(&Arrival::Phases { phases, burstiness: 1.0 }, 0, seed).next();
        prop_assert!(first.is_some_and(|at| at as f64 / 1e9 >= off_s - 1e-6));
    }

    /// Counts per 5 s of a gamma process have a dispersion that tends to 1/shape.
    #[test]
    fn dispersion_follows_burstiness(burstiness in prop_oneof![Just(0.25), Just(1.0), Just(4.0)], seed: u64) {
        const RATE: f64 = 40.0;
        let mut counts = vec![0.0; 200];
        for at in Offsets::new(&Arrival::Gamma { rate: RATE, burstiness }, 0, seed) {
            let Some(count) = counts.get_mut((at / 5_000_000_000) as usize) else { break };
            *count += 1.0;
        }
        let average = mean(counts.iter().copied());
        let dispersion = mean(counts.iter().map(|count: &f64| (count - average).powi(2))) / average;
        // A window's edges add at most a few parts in a hundred.
        let wanted = 1.0 / burstiness;
        prop_assert!((dispersion / wanted - 1.0).abs() < 6.0 * (2.0 / 200.0_f64).sqrt() + 0.05, "{dispersion} {wanted}");
    }
}

#[test]
fn offsets_stay_what_they_are() {
    // Plans are promised to be the same in every version: these numbers may not change.
    let at = |burstiness, seed| -> Vec<Nanos> {
        Offsets::new(&Arrival::Gamma { rate: 2.0, burstiness }, 0, seed).take(3).collect()
    };
    assert_eq!(at(1.0, 0), [862_541_341, 1_095_062_242, 1_330_821_963]);
    assert_eq!(at(0.25, 1), [41_448_323, 293_385_491, 295_995_504]);
    assert_eq!(at(4.0, 2), [714_293_756, 954_446_167, 1_228_052_172]);
}

#[test]
fn immediate_is_now() {
    assert_eq!(Offsets::new(&Arrival::Immediate, 0, 9).take(3).collect::<Vec<_>>(), [0, 0, 0]);
}
