"""The gateway: calls to language models that can be operated. Routes, fails over, keeps budgets and limits,
accounts for tokens and money, and caches. Nothing but generation uses it, and it knows nothing of passages.
"""
