"""Several replicas on one machine behind vllm-router: started, watched, and ended together."""
