"""What the predictions prove: metrics with intervals, combined models, planted mistakes, the paper's claims."""
