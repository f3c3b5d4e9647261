package algs

import "strings"

// construction is what encrypts the data in an algorithm of ClassAEAD or ClassHybrid.
type construction struct{ cipher, mode string }

// The ciphers and modes by which policies name algorithms.
const (
	CipherAES      = "AES"
	CipherChaCha20 = "ChaCha20"

	ModeGCM      = "gcm"
	ModeGCMSIV   = "gcm-siv"
	ModeCCM      = "ccm"
	ModeCBC      = "cbc"
	ModeCTR      = "ctr"
	ModeXTS      = "xts"
	ModePoly1305 = "poly1305"
)

var constructions = map[Name]construction{
	AES128GCM:        {CipherAES, ModeGCM},
	AES192GCM:        {CipherAES, ModeGCM},
	AES256GCM:        {CipherAES, ModeGCM},
	AES256CBC:        {CipherAES, ModeCBC},
	AES256CTR:        {CipherAES, ModeCTR},
	AES256CCM:        {CipherAES, ModeCCM},
	AES256GCMSIV:     {CipherAES, ModeGCMSIV},
	ChaCha20Poly1305: {CipherChaCha20, ModePoly1305},
	AES256XTS:        {CipherAES, ModeXTS},

	AES256GCMMLKEM768:        {CipherAES, ModeGCM},
	AES256GCMMLKEM1024:       {CipherAES, ModeGCM},
	X25519MLKEM768AES256GCM:  {CipherAES, ModeGCM},
	P256MLKEM768AES256GCM:    {CipherAES, ModeGCM},
	ChaCha20Poly1305MLKEM768: {CipherChaCha20, ModePoly1305},
}

// Cipher returns what encrypts the data, such as AES; empty for algorithms of other classes than ClassAEAD and ClassHybrid.
func (r Row) Cipher() string { return constructions[r.Name].cipher }

// Mode returns the mode of the cipher, such as gcm; empty where Cipher is.
func (r Row) Mode() string { return constructions[r.Name].mode }

// ParseCipher returns a cipher as the table writes it, whatever the case. A cipher that nothing protects with is not known.
func ParseCipher(s string) (string, bool) { return known(s, Row.Cipher) }

// ParseCipherMode does the same for a mode of a cipher.
func ParseCipherMode(s string) (string, bool) { return known(s, Row.Mode) }

func known(s string, of func(Row) string) (string, bool) {
	for _, r := range rows {
		if name := of(r); !r.ReadOnly && name != "" && strings.EqualFold(name, s) {
			return name, true
		}
	}
	return "", false
}
