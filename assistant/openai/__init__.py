"""OpenAI's chat completions, so that clients made for them work."""
