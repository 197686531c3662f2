//! What AWS KMS answers, by operation: the fields that its API reference lists, as AWS's SDK for Java
//! spells them.

use super::{Shape, may};

pub(super) static ENCRYPT_RESPONSE: Shape = Shape::structure(&[
    may("CiphertextBlob", &Shape::text(1, usize::MAX)),
    may("KeyId", &Shape::text(1, 2_048)),
    may(
        "EncryptionAlgorithm",
        &Shape::one_of(&[
            "SYMMETRIC_DEFAULT",
            "RSAES_OAEP_SHA_1",
            "RSAES_OAEP_SHA_256",
            "SM2PKE",
        ]),
    ),
]);

pub(super) static DECRYPT_RESPONSE: Shape = Shape::structure(&[
    may("KeyId", &Shape::text(1, 2_048)),
    may("Plaintext", &Shape::text(1, usize::MAX)),
    may(
        "EncryptionAlgorithm",
        &Shape::one_of(&[
            "SYMMETRIC_DEFAULT",
            "RSAES_OAEP_SHA_1",
            "RSAES_OAEP_SHA_256",
            "SM2PKE",
        ]),
    ),
    may("CiphertextForRecipient", &Shape::text(1, usize::MAX)),
    may("KeyMaterialId", &Shape::text(64, 64)),
]);

pub(super) static GENERATE_DATA_KEY_RESPONSE: Shape = Shape::structure(&[
    may("CiphertextBlob", &Shape::text(1, usize::MAX)),
    may("Plaintext", &Shape::text(1, usize::MAX)),
    may("KeyId", &Shape::text(1, 2_048)),
    may("CiphertextForRecipient", &Shape::text(1, usize::MAX)),
    may("KeyMaterialId", &Shape::text(64, 64)),
]);
