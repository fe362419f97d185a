"""The commands of `coe router` that need more than the package `router`: experts that run, figures that are drawn."""
