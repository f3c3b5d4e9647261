package keyenc_test

import (
	"encoding/base64"
	"fmt"

	"cryptoserve/engine/algs"
	"cryptoserve/engine/keyenc"
)

// The key of RFC 8037 appendix A.
func Example() {
	public, err := base64.RawURLEncoding.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	if err != nil {
		panic(err)
	}
	text, err := keyenc.PEM(algs.Ed25519, public)
	if err != nil {
		panic(err)
	}
	jwk, err := keyenc.JWK(algs.Ed25519, "release", public)
	if err != nil {
		panic(err)
	}
	thumbprint, err := keyenc.Thumbprint(algs.Ed25519, public)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s%s\n%s\n", text, jwk, thumbprint)
	// Output:
	// -----BEGIN PUBLIC KEY-----
	// MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
	// -----END PUBLIC KEY-----
	// {"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"release","use":"sig"}
	// kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k
}
