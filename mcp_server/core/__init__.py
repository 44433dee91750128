"""Pure computation: values and arrays in, values and arrays out."""
