/// The effect of a raw request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It changes nothing, and is repeated after a transient failure.
    Reads,
    /// It may change something, and is repeated only after a 401, or if no byte was sent.
    Changes,
    /// It submits a run, which is billed.
    Submits,
}
