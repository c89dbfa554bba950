use super::*;

const PAUSE: Duration = Duration::from_secs(1);

fn fail(circuit: &mut Circuit, now: Instant, was_probe: bool) {
    circuit.failed(now, was_probe, "503".to_owned(), None, |probes| PAUSE * probes);
}

/// Returns a circuit opened by five failures at `now`.
fn open(now: Instant) -> Circuit {
    let mut circuit = Circuit::default();
    for _ in 0..FAILURE_THRESHOLD {
        assert_eq!(circuit.enter(now, false), Entry::Send);
        fail(&mut circuit, now, false);
    }
    circuit
}

#[test]
fn failures_between_answers_leave_the_circuit_closed() {
    let (mut circuit, now) = (Circuit::default(), Instant::now());
    for _ in 0..3 {
        for _ in 1..FAILURE_THRESHOLD {
            fail(&mut circuit, now, false);
            assert_eq!(circuit.enter(now, false), Entry::Send);
        }
        assert!(circuit.succeeded().was_failing);
    }
}

#[test]
fn open_circuit_sends_one_probe_at_a_time() {
    let start = Instant::now();
    let mut circuit = open(start);
    let until = Some(start + PAUSE);
    assert_eq!(circuit.enter(start, false), Entry::Wait { until, is_asked: false });
    assert_eq!(circuit.enter(start + PAUSE, false), Entry::Probe);
    assert_eq!(circuit.enter(start + PAUSE, true), Entry::Wait { until: None, is_asked: false });
    fail(&mut circuit, start + PAUSE, true);
    let until = Some(start + PAUSE * 3);
    assert_eq!(circuit.enter(start + PAUSE, false), Entry::Wait { until, is_asked: false }, "twice as long");
    assert_eq!(circuit.enter(start + PAUSE * 3, false), Entry::Probe);
    circuit.abandoned();
    assert_eq!(circuit.enter(start + PAUSE * 3, false), Entry::Probe, "the first one was dropped");
    assert!(circuit.succeeded().was_failing);
    assert_eq!(circuit.enter(start + PAUSE * 3, false), Entry::Send);
}

#[test]
fn late_failure_of_another_request_does_not_delay_the_probe() {
    let start = Instant::now();
    let mut circuit = open(start);
    fail(&mut circuit, start + PAUSE / 2, false);
    assert_eq!(circuit.enter(start + PAUSE, false), Entry::Probe);
    fail(&mut circuit, start + PAUSE, false);
    assert_eq!(circuit.enter(start + PAUSE, false), Entry::Wait { until: None, is_asked: false }, "still in flight");
}

#[test]
fn retry_after_opens_the_circuit_for_its_duration() {
    let (mut circuit, start) = (Circuit::default(), Instant::now());
    circuit.failed(start, false, "429".to_owned(), Some(PAUSE * 60), |_| PAUSE);
    let wait = Entry::Wait { until: Some(start + PAUSE * 60), is_asked: true };
    assert_eq!(circuit.enter(start + PAUSE * 59, false), wait);
    assert_eq!(circuit.enter(start + PAUSE * 60, false), Entry::Probe);
}

#[test]
fn old_failures_are_forgotten() {
    let start = Instant::now();
    let mut circuit = open(start);
    assert_eq!(circuit.enter(start + FAILURE_LIFETIME + PAUSE, false), Entry::Send);
    assert!(circuit.outage().is_none());
}
