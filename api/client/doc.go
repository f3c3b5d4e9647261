// Package client is the Go SDK of the CryptoServe API. It needs nothing outside the standard library.
//
// A Client knows one server, the CA that signed the server's certificate and a TokenSource:
//
//	ca, err := os.ReadFile("ca.pem")
//	...
//	c, err := client.New(client.Config{Server: "https://node-1:8443", CA: ca, Token: client.StaticToken(token)})
//	...
//	sealed, err := c.Encrypt(ctx, wire.EncryptRequest{Plaintext: secret, Context: "user-pii"})
//
// # Streams
//
// EncryptStream, DecryptStream and DecryptRange work on data of any size in constant memory. The plaintext that a Stream
// gives is authentic, but only io.EOF says that nothing is missing: until then it must not be used as a whole.
//
//	_, _, err = c.DecryptTo(ctx, temporaryFile, "user-pii", nil, encryptedFile)
//	if errors.Is(err, client.ErrCut) { ... } // remove what was written
//
// # Errors
//
// An answer that is a problem document (RFC 9457) comes back as *Error, whose Code decides what to do:
//
//	var problem *client.Error
//	if errors.As(err, &problem) && problem.Code == "decrypt-failed" { ... }
//
// A server that could not be reached at all comes back as *ConnectError. Neither holds a plaintext or a token.
//
// # Retries
//
// A call is tried again, with growing random pauses, when the server said that the same request may succeed later, or
// when the connection failed and a second try can do no harm: whatever computes and all reads are safe to repeat;
// refresh, rotate, create, import and the like are repeated only when the request was surely not carried out. A stream is
// repeated only before its answer has begun, and only if its source can be read again from the same place or nothing was
// read of it. A Retry-After header (RFC 9110 section 10.2.3) is obeyed, and ends the retries when it asks for more patience
// than Retry.MaxWait.
package client
