package hsm

import (
	"fmt"

	"github.com/miekg/pkcs11"
)

// needed is every mechanism that the appliance cannot do without in a token. What else it uses stands in the table of kinds:
// a token that lacks some of that refuses the keys that want it, and no others.
var needed = []uint{
	pkcs11.CKM_GENERIC_SECRET_KEY_GEN, pkcs11.CKM_SHA256_HMAC,
	pkcs11.CKM_AES_KEY_GEN, pkcs11.CKM_AES_KEY_WRAP_PAD,
	pkcs11.CKM_EC_KEY_PAIR_GEN, pkcs11.CKM_ECDSA,
}

type flag struct {
	bit  uint
	name string
}

// tokenFlags are those of CK_TOKEN_INFO, PKCS#11 v2.40 section 3.2.
var tokenFlags = []flag{
	{pkcs11.CKF_RNG, "RNG"},
	{pkcs11.CKF_WRITE_PROTECTED, "WRITE_PROTECTED"},
	{pkcs11.CKF_LOGIN_REQUIRED, "LOGIN_REQUIRED"},
	{pkcs11.CKF_USER_PIN_INITIALIZED, "USER_PIN_INITIALIZED"},
	{pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH, "PROTECTED_AUTHENTICATION_PATH"},
	{pkcs11.CKF_TOKEN_INITIALIZED, "TOKEN_INITIALIZED"},
	{pkcs11.CKF_USER_PIN_COUNT_LOW, "USER_PIN_COUNT_LOW"},
	{pkcs11.CKF_USER_PIN_FINAL_TRY, "USER_PIN_FINAL_TRY"},
	{pkcs11.CKF_USER_PIN_LOCKED, "USER_PIN_LOCKED"},
	{pkcs11.CKF_USER_PIN_TO_BE_CHANGED, "USER_PIN_TO_BE_CHANGED"},
	{pkcs11.CKF_ERROR_STATE, "ERROR_STATE"},
}

// mechanismFlags are those of CK_MECHANISM_INFO, PKCS#11 v2.40 section 3.5.
var mechanismFlags = []flag{
	{pkcs11.CKF_HW, "hardware"},
	{pkcs11.CKF_ENCRYPT, "encrypt"}, {pkcs11.CKF_DECRYPT, "decrypt"}, {pkcs11.CKF_DIGEST, "digest"},
	{pkcs11.CKF_SIGN, "sign"}, {pkcs11.CKF_VERIFY, "verify"},
	{pkcs11.CKF_GENERATE, "generate"}, {pkcs11.CKF_GENERATE_KEY_PAIR, "generate-pair"},
	{pkcs11.CKF_WRAP, "wrap"}, {pkcs11.CKF_UNWRAP, "unwrap"}, {pkcs11.CKF_DERIVE, "derive"},
}

func flagNames(bits uint, table []flag) []string {
	var names []string
	for _, f := range table {
		if bits&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	return names
}

// mechanismNames has the mechanisms an operator may look for; others are printed as a number.
var mechanismNames = map[uint]string{
	pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN: "RSA_PKCS_KEY_PAIR_GEN", pkcs11.CKM_RSA_PKCS: "RSA_PKCS", pkcs11.CKM_RSA_X_509: "RSA_X_509",
	pkcs11.CKM_RSA_PKCS_OAEP: "RSA_PKCS_OAEP", pkcs11.CKM_RSA_PKCS_PSS: "RSA_PKCS_PSS",
	pkcs11.CKM_SHA1_RSA_PKCS: "SHA1_RSA_PKCS", pkcs11.CKM_SHA256_RSA_PKCS: "SHA256_RSA_PKCS",
	pkcs11.CKM_SHA384_RSA_PKCS: "SHA384_RSA_PKCS", pkcs11.CKM_SHA512_RSA_PKCS: "SHA512_RSA_PKCS",
	pkcs11.CKM_SHA256_RSA_PKCS_PSS: "SHA256_RSA_PKCS_PSS", pkcs11.CKM_SHA384_RSA_PKCS_PSS: "SHA384_RSA_PKCS_PSS",
	pkcs11.CKM_SHA512_RSA_PKCS_PSS: "SHA512_RSA_PKCS_PSS",
	pkcs11.CKM_EC_KEY_PAIR_GEN:     "EC_KEY_PAIR_GEN", pkcs11.CKM_ECDSA: "ECDSA", pkcs11.CKM_ECDH1_DERIVE: "ECDH1_DERIVE",
	pkcs11.CKM_GENERIC_SECRET_KEY_GEN: "GENERIC_SECRET_KEY_GEN",
	pkcs11.CKM_SHA_1:                  "SHA_1", pkcs11.CKM_SHA256: "SHA256", pkcs11.CKM_SHA384: "SHA384", pkcs11.CKM_SHA512: "SHA512",
	pkcs11.CKM_SHA_1_HMAC: "SHA_1_HMAC", pkcs11.CKM_SHA256_HMAC: "SHA256_HMAC",
	pkcs11.CKM_SHA384_HMAC: "SHA384_HMAC", pkcs11.CKM_SHA512_HMAC: "SHA512_HMAC",
	pkcs11.CKM_AES_KEY_GEN: "AES_KEY_GEN", pkcs11.CKM_AES_ECB: "AES_ECB", pkcs11.CKM_AES_CBC: "AES_CBC",
	pkcs11.CKM_AES_CBC_PAD: "AES_CBC_PAD", pkcs11.CKM_AES_CTR: "AES_CTR", pkcs11.CKM_AES_GCM: "AES_GCM",
	pkcs11.CKM_AES_CMAC: "AES_CMAC", pkcs11.CKM_AES_KEY_WRAP: "AES_KEY_WRAP", pkcs11.CKM_AES_KEY_WRAP_PAD: "AES_KEY_WRAP_PAD",
	pkcs11.CKM_AES_ECB_ENCRYPT_DATA: "AES_ECB_ENCRYPT_DATA", pkcs11.CKM_AES_CBC_ENCRYPT_DATA: "AES_CBC_ENCRYPT_DATA",
}

func mechanismName(m uint) string {
	if name, ok := mechanismNames[m]; ok {
		return name
	}
	return fmt.Sprintf("0x%08X", m)
}
