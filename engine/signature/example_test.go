package signature_test

import (
	"encoding/base64"
	"fmt"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/signature"
)

// The key and payload of RFC 8037 appendix A.
func ExampleSignJWS() {
	seed, err := base64.RawURLEncoding.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	if err != nil {
		panic(err)
	}
	key, err := signature.ParsePrivate(algs.Ed25519, seed)
	if err != nil {
		panic(err)
	}
	defer key.Destroy()
	payload := []byte("Example of Ed25519 signing")
	jws, err := signature.SignJWS(key, "", "", payload)
	if err != nil {
		panic(err)
	}
	fmt.Println(jws)
	public, err := signature.ParsePublic(algs.Ed25519, key.Public())
	if err != nil {
		panic(err)
	}
	fmt.Println(signature.VerifyJWS(signature.Only(public), jws, payload))
	// Output:
	// eyJhbGciOiJFZERTQSJ9..hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg
	// <nil>
}
