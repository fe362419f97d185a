"""The demo composition: one small base model, LoRA experts trained on it, and their scores.

`build` makes the base, `train_expert` an adapter, `labelled_set` what `coe router score` scores them on,
`score_experts` the tables in docs/demo.md. None of it is imported by the runtime: `coe` reads the folders and the
config that lie here, not this code.
"""
