//! Tokens by which services know a request that comes again: AWS's SDKs fill them in where nobody says one, and
//! so do we. Some services refuse what has none.
//!
//! Owns the list of members that are such tokens, drawn up from the models of all services of the catalogue,
//! as tasks write them. Invariant: one for a call, the same each time that it is sent. (Not over the end of the
//! process: see the conductor's `elsewhere`.)

use serde_json::Value;

use crate::{ids::uuid_of, integration::service::ServiceTask};

/// A service by its names, the member, and the actions that have it.
type Tokens = (
    &'static [&'static str],
    &'static str,
    &'static [&'static str],
);

#[rustfmt::skip]
const TOKENS: [Tokens; 21] = [
    (&["acm"], "IdempotencyToken", &["createAcmeDomainValidation", "createAcmeEndpoint", "createAcmeExternalAccountBinding"]),
    (&["athena"], "ClientRequestToken", &["createNamedQuery", "startQueryExecution"]),
    (&["cloudwatchlogs"], "ClientToken", &["putQueryDefinition"]),
    (&["codepipeline"], "ClientRequestToken", &["startPipelineExecution"]),
    (&["comprehend"], "ClientRequestToken", &["createDataset", "createDocumentClassifier", "createEndpoint", "createEntityRecognizer", "createFlywheel", "startDocumentClassificationJob", "startDominantLanguageDetectionJob", "startEntitiesDetectionJob", "startEventsDetectionJob", "startKeyPhrasesDetectionJob", "startPiiEntitiesDetectionJob", "startSentimentDetectionJob", "startTargetedSentimentDetectionJob", "startTopicsDetectionJob"]),
    (&["dynamodb"], "ClientRequestToken", &["executeTransaction", "transactWriteItems"]),
    (&["dynamodb"], "ClientToken", &["exportTableToPointInTime", "importTable"]),
    (&["ecs"], "ClientToken", &["runTask"]),
    (&["glue"], "ClientToken", &["associateGlossaryTerms", "createGlossary", "createGlossaryTerm", "disassociateGlossaryTerms", "putAsset", "putAssetType", "putAttachment", "putFormType", "updateAsset", "updateGlossary", "updateGlossaryTerm"]),
    (&["redshiftdata"], "ClientToken", &["batchExecuteStatement", "executeStatement"]),
    (&["rekognition"], "ClientRequestToken", &["associateFaces", "createUser", "deleteUser", "disassociateFaces", "startMediaAnalysisJob"]),
    (&["sagemaker"], "ClientRequestToken", &["createPipeline", "deletePipeline", "retryPipelineExecution", "sendPipelineExecutionStepFailure", "sendPipelineExecutionStepSuccess", "startPipelineExecution", "stopPipelineExecution"]),
    (&["sagemaker"], "ClientToken", &["batchAddClusterNodes", "createImageVersion", "createModelPackage", "createPartnerApp", "deletePartnerApp", "updatePartnerApp"]),
    (&["secretsmanager"], "ClientRequestToken", &["createSecret", "putSecretValue", "rotateSecret", "updateSecret"]),
    (&["servicediscovery"], "CreatorRequestId", &["createHttpNamespace", "createPrivateDnsNamespace", "createPublicDnsNamespace", "createService", "registerInstance"]),
    (&["servicediscovery"], "UpdaterRequestId", &["updateHttpNamespace", "updatePrivateDnsNamespace", "updatePublicDnsNamespace"]),
    (&["sfn", "states"], "ClientToken", &["redriveExecution"]),
    (&["ssm"], "ClientToken", &["createMaintenanceWindow", "createPatchBaseline", "deleteInventory", "registerTargetWithMaintenanceWindow", "registerTaskWithMaintenanceWindow"]),
    (&["textract"], "ClientRequestToken", &["createAdapter", "createAdapterVersion"]),
    (&["timestreamquery"], "ClientToken", &["createScheduledQuery", "executeScheduledQuery", "query"]),
    (&["translate"], "ClientToken", &["createParallelData", "startTextTranslationJob", "updateParallelData"]),
];

/// The parameters with the token that they lack; `None` where they lack none.
pub(super) fn filled(task: ServiceTask<'_>, parameters: &Value) -> Option<Value> {
    let of_task = |(names, _, actions): &&Tokens| {
        names.contains(&task.service) && actions.contains(&task.action)
    };
    let (_, member, _) = TOKENS.iter().find(of_task)?;
    let members = parameters.as_object()?;
    if members.get(*member).is_some_and(|token| !token.is_null()) {
        return None;
    }
    let mut members = members.clone();
    let token = uuid_of(rand::random(), rand::random());
    members.insert((*member).to_owned(), token.into());
    Some(members.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::integration::service::remote::catalogue;

    fn of(resource: &str, parameters: &Value) -> Option<Value> {
        filled(ServiceTask::of(resource).unwrap(), parameters)
    }

    #[test]
    fn what_has_no_token_gets_one_of_its_own() {
        let put = "arn:aws:states:::aws-sdk:secretsmanager:putSecretValue";
        let token = |parameters: &Value| {
            let filled = of(put, parameters).unwrap();
            assert_eq!(filled["SecretId"], "s");
            filled["ClientRequestToken"].as_str().unwrap().to_owned()
        };
        let (one, other) = (
            token(&json!({"SecretId": "s"})),
            token(&json!({"SecretId": "s", "ClientRequestToken": null})),
        );
        assert_eq!(one.len(), 36);
        assert_ne!(one, other);
        let own = json!({"SecretId": "s", "ClientRequestToken": "mine"});
        assert_eq!(of(put, &own), None);
        assert_eq!(of("arn:aws:states:::sqs:sendMessage", &json!({})), None);
        let run = of("arn:aws:states:::ecs:runTask", &json!({})).unwrap();
        assert!(run["ClientToken"].is_string());
    }

    #[test]
    fn each_row_is_of_a_service_that_there_is_and_an_action_has_one_token() {
        let mut known = std::collections::HashSet::new();
        for (names, _, actions) in TOKENS {
            for name in names {
                assert!(catalogue::find(name).is_some(), "{name}");
                for action in actions {
                    assert!(known.insert((*name, *action)), "{name}:{action}");
                }
            }
        }
    }
}
