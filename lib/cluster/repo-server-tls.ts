/**
 * The certificate without which Argo CD's repo-server answers nobody. A request to it may name a program to run, so any
 * pod that reached it could run anything there. Argo CD mounts the Secret by its name, and if it exists, asks for a
 * certificate.
 */
import "reflect-metadata";
import { webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

x509.cryptoProvider.set(webcrypto as unknown as Crypto);

const namespace = "argocd";
const name = "argocd-repo-server-mtls";
const manager = "deploy-repo-server-tls";
const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const day = 24 * 60 * 60 * 1000;
const lifetimeDays = 365;
const renewBeforeDays = 90;

/** Runs kubectl with `input` on its standard input, and returns what it prints. */
export type Kubectl = (args: string[], input?: string) => Promise<string>;

/** The Secret's entries, as Argo CD reads them. */
export type Entries = Record<"client-ca.crt" | "client.crt" | "client.key", string>;

/** An authority whose key nobody keeps, and the one certificate that it signed: all parts of Argo CD share that. */
export async function makeEntries(now = new Date()): Promise<Entries> {
  const [authorityKeys, keys] = [await newKeys(), await newKeys()];
  const validity = {
    // Clocks may differ.
    notBefore: new Date(now.getTime() - day),
    notAfter: new Date(now.getTime() + lifetimeDays * day),
    signingAlgorithm: algorithm,
  };
  const authority = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity,
    name: "CN=logging-platform argocd-repo-server clients",
    keys: authorityKeys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(authorityKeys.publicKey),
    ],
  });
  const certificate = await x509.X509CertificateGenerator.create({
    ...validity,
    subject: "CN=argocd",
    issuer: authority.subject,
    publicKey: keys.publicKey,
    signingKey: authorityKeys.privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
      await x509.AuthorityKeyIdentifierExtension.create(authority),
    ],
  });
  const key = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey as unknown as webcrypto.CryptoKey);
  return {
    "client-ca.crt": `${authority.toString("pem")}\n`,
    "client.crt": `${certificate.toString("pem")}\n`,
    "client.key": `${x509.PemConverter.encode(key, "PRIVATE KEY")}\n`,
  };
}

const newKeys = (): Promise<CryptoKeyPair> =>
  webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]) as unknown as Promise<CryptoKeyPair>;

/** True if a Secret has all entries and they stay valid for another 90 days. */
export function entriesDo(entries: Partial<Entries>, now = new Date()): boolean {
  const { "client-ca.crt": authority, "client.crt": certificate, "client.key": key } = entries;
  if (!authority || !certificate || !key) return false;
  try {
    return [authority, certificate].every((pem) => {
      const { notAfter } = new x509.X509Certificate(pem);
      return notAfter.getTime() - now.getTime() > renewBeforeDays * day;
    });
  } catch {
    return false;
  }
}

interface Secret {
  metadata: { managedFields?: { manager: string; time?: string }[] };
  data?: Record<string, string>;
}

interface Item {
  kind: string;
  metadata: { name: string; creationTimestamp: string };
  spec: {
    selector: { matchLabels: Record<string, string> };
    template: { spec: { volumes?: { secret?: { secretName?: string } }[] } };
  };
}

/**
 * Makes or renews the certificate. This comes before Argo CD is applied, because its parts look for it when they start.
 * Parts that started before it was made, as after an upgrade or a renewal, are restarted.
 * @returns what was restarted
 */
export async function ensureRepoServerTls(kubectl: Kubectl, now = new Date()): Promise<string[]> {
  const apply = (object: object): Promise<string> =>
    kubectl(
      ["apply", "--server-side", "--force-conflicts", `--field-manager=${manager}`, "-f", "-"],
      JSON.stringify(object),
    );
  await apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } });
  if (!entriesDo(entriesOf(await readSecret(kubectl)), now)) {
    const data = Object.entries(await makeEntries(now)).map(([key, text]) => [
      key,
      Buffer.from(text).toString("base64"),
    ]);
    const labels = { "app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "argocd" };
    const metadata = { name, namespace, labels };
    await apply({ apiVersion: "v1", kind: "Secret", metadata, data: Object.fromEntries(data) });
  }
  return restartOlder(kubectl, await readSecret(kubectl));
}

/** When the certificate expires; undefined if there is none. */
export async function repoServerTlsEnd(kubectl: Kubectl): Promise<Date | undefined> {
  const { "client.crt": certificate } = entriesOf(await readSecret(kubectl));
  return certificate === undefined ? undefined : new x509.X509Certificate(certificate).notAfter;
}

const entriesOf = (secret: Secret | undefined): Partial<Entries> =>
  Object.fromEntries(
    Object.entries(secret?.data ?? {}).map(([key, value]) => [key, Buffer.from(value, "base64").toString()]),
  );

const readObject = async <T>(kubectl: Kubectl, args: string[]): Promise<T | undefined> => {
  const text = await kubectl(["-n", namespace, "get", ...args, "--ignore-not-found", "-o", "json"]);
  return text.trim() === "" ? undefined : (JSON.parse(text) as T);
};

const readSecret = (kubectl: Kubectl): Promise<Secret | undefined> =>
  readObject<Secret>(kubectl, ["secret", name, "--show-managed-fields"]);

// Both times are by the API server's clock: when it stored the present entries, and when it made the pods.
async function restartOlder(kubectl: Kubectl, secret: Secret | undefined): Promise<string[]> {
  const made = secret?.metadata.managedFields?.find((entry) => entry.manager === manager)?.time;
  if (made === undefined) return [];
  const restarted: string[] = [];
  const workloads = await readObject<{ items?: Item[] }>(kubectl, ["deployments,statefulsets"]);
  for (const { kind, metadata, spec } of workloads?.items ?? []) {
    if (!spec.template.spec.volumes?.some(({ secret }) => secret?.secretName === name)) continue;
    const selector = Object.entries(spec.selector.matchLabels).map((pair) => pair.join("="));
    const pods = await readObject<{ items?: Item[] }>(kubectl, ["pods", "-l", selector.join()]);
    if (!pods?.items?.some((pod) => Date.parse(pod.metadata.creationTimestamp) < Date.parse(made))) continue;
    const workload = `${kind.toLowerCase()}/${metadata.name}`;
    await kubectl(["-n", namespace, "rollout", "restart", workload]);
    restarted.push(workload);
  }
  return restarted;
}
