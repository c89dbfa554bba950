/// The effect of a raw request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The request only reads. It is sent again after a transient failure.
    Reads,
    /// The request may write. It is sent again only after a 401, or if no byte was sent.
    Changes,
    /// The request submits a run, which is billed.
    Submits,
}
