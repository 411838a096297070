"""Literals: what a sentence may not make up, compared as people read it; and sentences that say the opposite."""

import pytest

from assistant.generation.literals import Source
from assistant.generation.polarity import contradicts, turns_round
from index.embedder import Embedder


@pytest.mark.parametrize(
    ("sentence", "source"),
    [
        ("It waits 30 seconds.", "a wait of 30s"),
        ("It waits thirty seconds.", "a 30-second wait"),
        ("It takes 1,000 requests.", "1000 requests"),
        ("It takes a thousand requests.", "1,000 requests"),
        ("Half means 50%.", "means half: fifty percent"),
        ("It costs $5.", "a cost of 5 dollars"),
        ("It is 1.5 GB.", "1.50 GB"),
        ("It takes two of the steps.", "takes steps 1 and 2"),
        ("Use v1.2.", "release 1.2"),
        ("Use version 1.2.", "use v1.2"),
        ("It broke on May 1, 2024.", "broke 2024-05-01"),
        ("It broke in May 2024.", "broke 1 May 2024"),
        ("It broke in 2024.", "broke on 1 May 2024"),
        ("It runs at 2 pm.", "runs at 14:00"),
        ("Services store them.", "a service stores them"),
        ("PVCs are ConfigMaps' volumes.", "a PVC's volume, of a ConfigMap"),
        ("Kubernetes runs it.", "run on k8s"),
        ("Argo's sync is CI/CD.", "Argo: sync, CI, CD"),
        ("Run `kubectl get pods`.", "run   kubectl get  pods"),
        ("Pass --dry-run to it.", "pass `--dry-run=server`"),
        ("Read /etc/foo.conf there.", "there is /etc/foo.conf"),
        ("Open https://example.com/a.", "(https://example.com/a)"),
        ("Set log_level and maxSize.", "`log_level`, `maxSize`"),
        ("```sh\nmake run\n```", "then: make run"),
        ("Self-healing works.", "self healing works"),
        ("It is Kubernetes-native, e.g. there.", "it is for Kubernetes"),
        ("Use the ingress-class there.", "use --ingress-class there"),
        ("Use `ingress-class` there.", "use --ingress-class there"),
        ("But THEN the others work.", "the others work, then"),
    ],
)  # fmt: skip
def test_a_literal_is_found_as_people_write_it(
    sentence: str, source: str, embedder: Embedder
) -> None:
    assert Source(source).missing(sentence, embedder.is_word) == []


@pytest.mark.parametrize(
    ("sentence", "source", "missing"),
    [
        ("It waits 30s.", "waits 30m", "30s"),
        ("It waits 30 seconds.", "it waits for 30 pods, 30 minutes", "30 seconds"),
        ("Use v1.9.", "use 1.19", "1.9"),
        ("Use 1.2.", "use 1.2.3", "1.2"),
        ("Use 1.29.1.", "use 1.29", "1.29.1"),
        ("It is 5 GiB.", "it is 5 GB", "5 GiB"),
        ("It takes 12 steps.", "it takes 2 steps", "12"),
        ("It takes twelve steps.", "it takes 2 steps", "twelve steps"),
        ("It broke in June 2024.", "broke 2024-05-01", "June 2024"),
        ("It broke on 2024-05-02.", "broke 2024-05-01", "2024-05-02"),
        ("It runs at 2 am.", "runs at 14:00", "2 am"),
        ("Then Velero stores it.", "the tool stores it", "Velero"),
        ("Velero stores it.", "the tool stores it", "Velero"),
        ("Kafka stores it.", "the broker stores it", "Kafka"),
        ("Run `kubectl delete pods`.", "run kubectl get pods", "kubectl delete pods"),
        ("Pass --force to it.", "pass --force-sync", "--force"),
        ("Read /etc/foo there.", "read /etc/foo.conf", "/etc/foo"),
        ("Open https://evil.example/a?q=1.", "open https://evil.example/a", "https://evil.example/a?q=1"),
        ("Write to me@evil.example now.", "write to you@evil.example", "me@evil.example"),
        ("Open evil.example.com/x now.", "open good.example.com/x", "evil.example.com/x"),
        ("Set log_levels to it.", "set log_level", "log_levels"),
        ("```sh\nmake run\nrm -rf /\n```", "make run", "rm -rf /"),
        ("It was Émile there.", "it was Emil there", "Émile"),
        ("The SLA is met.", "the SLO is met", "SLA"),
    ],
)  # fmt: skip
def test_a_literal_that_only_looks_alike_is_missing(
    sentence: str, source: str, missing: str, embedder: Embedder
) -> None:
    found = Source(source).missing(sentence, embedder.is_word)
    assert [each.written for each in found] == [missing]


@pytest.mark.parametrize(
    ("sentence", "source"),
    [
        ("Backups are not encrypted.", "Backups are encrypted."),
        ("Backups are encrypted.", "Backups are not encrypted at rest."),
        ("It never restarts pods.", "It restarts pods."),
        ("No approval is needed.", "An approval is needed."),
        ("It can't be resized.", "It can be resized."),
        ("It is enabled by default.", "It is disabled by default."),
        ("Run it after the restore.", "Run it before the restore."),
        ("The minimum is 3.", "The maximum is 3."),
        ("CloudNativePG is using StatefulSets.", "CloudNativePG does not rely on `StatefulSet`s."),
    ],
)  # fmt: skip
def test_the_opposite_is_told(sentence: str, source: str) -> None:
    assert contradicts(sentence, source)


@pytest.mark.parametrize(
    ("sentence", "source"),
    [
        ("It stores metadata.", "It does not store secrets but stores metadata."),
        ("It is not only fast but cheap.", "It is fast and cheap."),
        ("It never stores secrets.", "It doesn't store secrets."),
        ("It works without a token.", "No token is needed: it works without."),
        ("It is quick.", "It is quick. Nothing else is not slow."),
    ],
)  # fmt: skip
def test_agreement_in_a_denial_is_no_opposite(sentence: str, source: str) -> None:
    assert contradicts(sentence, source) is None


@pytest.mark.parametrize(
    ("sentence", "source", "turned"),
    [
        ("The ledger depends on the gateway.", "The gateway depends on the ledger.", True),
        ("Argo CD replaces Flux.", "Flux replaces Argo CD.", True),
        ("The ledger is used by the gateway.", "The gateway uses the ledger.", False),
        ("The gateway depends on it.", "The gateway depends on the ledger.", False),
        ("After a run fails, it pages the owner.", "It pages the owner after a run fails.", False),
        ("A writes to B and B reads from A.", "A writes to B and B reads from A.", False),
    ],
)
def test_a_relation_turned_round_is_told(sentence: str, source: str, turned: bool) -> None:
    assert bool(turns_round(sentence, source)) is turned
