// Package api serves the appliance to programs over HTTPS: it is the only package that knows HTTP for them.
//
// A request goes through one path, the same for each row of the route table (routes.go):
//
//	router -> request id, source -> subject (api/auth) -> body, within its limit -> strict JSON -> engine -> answer
//
// JSON is read by one decoder (decode.go), by hand for what comes most and into the types of package wire for the rest
// (bind.go), with the same strictness and the same words for what is refused.
//
// Package engine decides and writes the audit record of the operation. A request that is refused before it gets there is
// recorded through Engine.Refuse, so that each request to an audited route has its record before its answer leaves. Every
// failure becomes one application/problem+json body by one table (problem.go).
//
// # Buffers
//
// All memory of a request comes from one pooled exchange: the body, the decoded byte strings, the engine's result and the
// answer. What was secret in it is overwritten before it goes back, and buffers that grew large are left to the collector.
// Copies inside net/http and crypto/tls are out of reach.
//
// # Streams
//
// A stream (streams.go) has no body in memory: the engine reads from the connection and writes to it, a segment at a time.
// Its limits are how many run at once and how long each may stand still, in the place of the timeouts of a whole request.
// An error before the answer has begun is a problem like any other; after that the connection is broken off, and the trailer
// that tells a whole answer is missing.
//
// # Shutdown
//
// Server.Shutdown first tells everybody: /health/ready answers 503 and each answer closes its connection. Then it stops
// accepting, gives idle connections a moment to bring a last request, and waits for what is running.
//
// Requests that net/http itself refuses, such as one with headers above the limit, are answered by it in plain text and
// leave no audit record: they never become a request.
package api
