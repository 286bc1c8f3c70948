"""The paper remade: every figure and table on our data, beside what is published, with a verdict by a stated rule."""
