"""What wraps every tool call: one ordered list, one file for each concern.

identity -> scope -> throttle (`admission`) -> strict arguments -> idempotency -> deadline -> concurrency limit ->
retry -> the tool -> error shaping -> text cleaned and bounded (`execution`) -> log line, metrics, trace ids.
"""
