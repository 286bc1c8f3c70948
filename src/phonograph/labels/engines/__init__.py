"""Electronic-structure engines behind one protocol: each turns a crystal into values, arrays or a named failure."""
