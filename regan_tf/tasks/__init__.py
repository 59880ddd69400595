"""What is learned: data, the metrics that judge samples, and what is shown of them."""
