use super::*;

const PAUSE: Duration = Duration::from_secs(1);

fn fail(circuit: &mut Circuit, now: Instant, was_probe: bool) {
    circuit.record_failure(now, was_probe, "503".to_owned(), None, |probes| PAUSE * probes);
}

/// Returns a circuit breaker that was opened by five failures at `now`.
fn open(now: Instant) -> Circuit {
    let mut circuit = Circuit::default();
    for _ in 0..FAILURE_THRESHOLD {
        assert_eq!(circuit.admit(now, false), Admission::Send);
        fail(&mut circuit, now, false);
    }
    circuit
}

#[test]
fn few_failures_between_successes_do_not_open_the_circuit() {
    let (mut circuit, now) = (Circuit::default(), Instant::now());
    for _ in 0..3 {
        for _ in 1..FAILURE_THRESHOLD {
            fail(&mut circuit, now, false);
            assert_eq!(circuit.admit(now, false), Admission::Send);
        }
        assert!(circuit.record_success().was_failing);
    }
}

#[test]
fn open_circuit_sends_one_probe_at_a_time() {
    let start = Instant::now();
    let mut circuit = open(start);
    let until = Some(start + PAUSE);
    assert_eq!(circuit.admit(start, false), Admission::Wait { until, is_retry_after: false });
    assert_eq!(circuit.admit(start + PAUSE, false), Admission::Probe);
    assert_eq!(circuit.admit(start + PAUSE, true), Admission::Wait { until: None, is_retry_after: false });
    fail(&mut circuit, start + PAUSE, true);
    let until = Some(start + PAUSE * 3);
    assert_eq!(
        circuit.admit(start + PAUSE, false),
        Admission::Wait { until, is_retry_after: false },
        "the second pause is twice as long"
    );
    assert_eq!(circuit.admit(start + PAUSE * 3, false), Admission::Probe);
    circuit.record_dropped_probe();
    assert_eq!(circuit.admit(start + PAUSE * 3, false), Admission::Probe, "the first probe was dropped");
    assert!(circuit.record_success().was_failing);
    assert_eq!(circuit.admit(start + PAUSE * 3, false), Admission::Send);
}

#[test]
fn late_failure_of_another_request_does_not_delay_the_probe() {
    let start = Instant::now();
    let mut circuit = open(start);
    fail(&mut circuit, start + PAUSE / 2, false);
    assert_eq!(circuit.admit(start + PAUSE, false), Admission::Probe);
    fail(&mut circuit, start + PAUSE, false);
    assert_eq!(
        circuit.admit(start + PAUSE, false),
        Admission::Wait { until: None, is_retry_after: false },
        "the probe is still in flight"
    );
}

#[test]
fn retry_after_opens_the_circuit_for_its_duration() {
    let (mut circuit, start) = (Circuit::default(), Instant::now());
    circuit.record_failure(start, false, "429".to_owned(), Some(PAUSE * 60), |_| PAUSE);
    let wait = Admission::Wait { until: Some(start + PAUSE * 60), is_retry_after: true };
    assert_eq!(circuit.admit(start + PAUSE * 59, false), wait);
    assert_eq!(circuit.admit(start + PAUSE * 60, false), Admission::Probe);
}

#[test]
fn old_failures_are_forgotten() {
    let start = Instant::now();
    let mut circuit = open(start);
    assert_eq!(circuit.admit(start + FAILURE_LIFETIME + PAUSE, false), Admission::Send);
    assert!(circuit.outage().is_none());
}
