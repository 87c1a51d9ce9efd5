/** The cluster's public-key infrastructure. It is made on the first run and renewed before it expires. */

import { webcrypto } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { writeIfChanged } from "./files.ts";
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { apiServerURL, apiServiceAddress, bridge, clusterDomain, nodes, state } from "./layout.ts";

x509.cryptoProvider.set(webcrypto as unknown as Crypto);

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const day = 24 * 60 * 60 * 1000;
const caLifetimeDays = 3650;
const lifetimeDays = 365;
const renewBeforeDays = 90;

export interface CertificateRequest {
  name: string;
  ca: string;
  commonName: string;
  organization?: string;
  /** DNS names and IP addresses of the server. A certificate without any is for clients only. */
  hosts?: string[];
}

/** Every certificate that the cluster uses, except those of its two authorities. */
export const certificateRequests: CertificateRequest[] = [
  { name: "etcd-server", ca: "etcd-ca", commonName: "etcd", hosts: ["127.0.0.1", "localhost"] },
  { name: "apiserver-etcd-client", ca: "etcd-ca", commonName: "kube-apiserver" },
  {
    name: "apiserver",
    ca: "ca",
    commonName: "kube-apiserver",
    hosts: [
      ...[
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        `kubernetes.default.svc.${clusterDomain}`,
      ],
      ...["localhost", "127.0.0.1", bridge.address, apiServiceAddress],
    ],
  },
  {
    name: "apiserver-kubelet-client",
    ca: "ca",
    commonName: "kube-apiserver-kubelet-client",
    organization: "system:masters",
  },
  { name: "admin", ca: "ca", commonName: "kubernetes-admin", organization: "system:masters" },
  { name: "controller-manager", ca: "ca", commonName: "system:kube-controller-manager" },
  { name: "scheduler", ca: "ca", commonName: "system:kube-scheduler" },
  { name: "kube-proxy", ca: "ca", commonName: "system:kube-proxy" },
  { name: "kube-router", ca: "ca", commonName: "system:kube-router" },
  ...nodes.flatMap((node) => [
    {
      name: `kubelet-${node.name}`,
      ca: "ca",
      commonName: `system:node:${node.name}`,
      organization: "system:nodes",
    },
    {
      name: `kubelet-${node.name}-server`,
      ca: "ca",
      commonName: node.name,
      hosts: [node.name, node.address],
    },
  ]),
];

/** Path of a certificate (`.crt`) or its key (`.key`). */
export const pki = (name: string, kind: "crt" | "key"): string => state("pki", `${name}.${kind}`);

const serial = (): string =>
  Buffer.from(webcrypto.getRandomValues(new Uint8Array(16)))
    .toString("hex")
    .replace(/^./, "1");

const newKeys = async (): Promise<webcrypto.CryptoKeyPair> =>
  (await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"])) as webcrypto.CryptoKeyPair;

async function writeKey(path: string, key: webcrypto.CryptoKey): Promise<void> {
  const der = await webcrypto.subtle.exportKey("pkcs8", key);
  writeFileSync(path, `${x509.PemConverter.encode(der, "PRIVATE KEY")}\n`, { mode: 0o600 });
}

async function readKey(path: string): Promise<webcrypto.CryptoKey> {
  const der = x509.PemConverter.decodeFirst(readFileSync(path, "utf8"));
  return webcrypto.subtle.importKey("pkcs8", der, algorithm, true, ["sign"]);
}

/** True if a certificate expires within the renewal margin, or lacks one of the wanted names. */
export function needsRenewal(pem: string, hosts: string[], now: Date): boolean {
  const certificate = new x509.X509Certificate(pem);
  if (certificate.notAfter.getTime() - now.getTime() < renewBeforeDays * day) return true;
  const names =
    certificate.getExtension(x509.SubjectAlternativeNameExtension)?.names.items.map((n) => n.value) ?? [];
  return hosts.some((host) => !names.includes(host));
}

/** Returns true if the authority had to be made. Certificates that an earlier one signed are invalid then. */
async function ensureAuthority(name: string, now: Date): Promise<boolean> {
  if (existsSync(pki(name, "crt")) && existsSync(pki(name, "key"))) return false;
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: [{ CN: [`logging-platform ${name}`] }],
    notBefore: new Date(now.getTime() - day),
    notAfter: new Date(now.getTime() + caLifetimeDays * day),
    keys: keys as unknown as CryptoKeyPair,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign | x509.KeyUsageFlags.digitalSignature,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey as unknown as CryptoKey),
    ],
  });
  await writeKey(pki(name, "key"), keys.privateKey);
  writeFileSync(pki(name, "crt"), `${certificate.toString("pem")}\n`);
  return true;
}

async function issue(request: CertificateRequest, now: Date): Promise<void> {
  const authority = new x509.X509Certificate(readFileSync(pki(request.ca, "crt"), "utf8"));
  const keys = await newKeys();
  const hosts = request.hosts ?? [];
  const usages = [
    x509.ExtendedKeyUsage.clientAuth,
    ...(hosts.length > 0 ? [x509.ExtendedKeyUsage.serverAuth] : []),
  ];
  const subject: x509.JsonName = [{ CN: [request.commonName] }];
  if (request.organization) subject.push({ O: [request.organization] });
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject,
    issuer: authority.subject,
    notBefore: new Date(now.getTime() - day),
    notAfter: new Date(now.getTime() + lifetimeDays * day),
    publicKey: keys.publicKey as unknown as CryptoKey,
    signingKey: (await readKey(pki(request.ca, "key"))) as unknown as CryptoKey,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment,
        true,
      ),
      new x509.ExtendedKeyUsageExtension(usages),
      await x509.AuthorityKeyIdentifierExtension.create(authority),
      ...(hosts.length > 0
        ? [
            new x509.SubjectAlternativeNameExtension(
              hosts.map(
                (value): x509.JsonGeneralName => ({ type: /^[\d.]+$/.test(value) ? "ip" : "dns", value }),
              ),
            ),
          ]
        : []),
    ],
  });
  await writeKey(pki(request.name, "key"), keys.privateKey);
  writeFileSync(pki(request.name, "crt"), `${certificate.toString("pem")}\n`);
}

/** Issues missing certificates and renews those that expire within 90 days. Returns the names of both. */
export async function ensureCertificates(now = new Date()): Promise<string[]> {
  mkdirSync(state("pki"), { recursive: true, mode: 0o700 });
  const fresh: string[] = [];
  for (const authority of ["ca", "etcd-ca"]) if (await ensureAuthority(authority, now)) fresh.push(authority);
  const changed: string[] = [];
  for (const request of certificateRequests) {
    const [crt, key] = [pki(request.name, "crt"), pki(request.name, "key")];
    const usable = existsSync(crt) && existsSync(key) && !fresh.includes(request.ca);
    if (usable && !needsRenewal(readFileSync(crt, "utf8"), request.hosts ?? [], now)) continue;
    await issue(request, now);
    changed.push(request.name);
  }
  if (!existsSync(pki("service-account", "key"))) {
    const keys = await newKeys();
    const spki = await webcrypto.subtle.exportKey("spki", keys.publicKey);
    writeFileSync(state("pki", "service-account.pub"), `${x509.PemConverter.encode(spki, "PUBLIC KEY")}\n`);
    await writeKey(pki("service-account", "key"), keys.privateKey);
  }
  return changed;
}

/** Text of a kubeconfig that authenticates with the named certificate, which is embedded in it. */
export function kubeconfig(user: string): string {
  const data = (path: string): string => readFileSync(path).toString("base64");
  return JSON.stringify(
    {
      apiVersion: "v1",
      kind: "Config",
      clusters: [
        {
          name: "embedded",
          cluster: { server: apiServerURL, "certificate-authority-data": data(pki("ca", "crt")) },
        },
      ],
      users: [
        {
          name: user,
          user: {
            "client-certificate-data": data(pki(user, "crt")),
            "client-key-data": data(pki(user, "key")),
          },
        },
      ],
      contexts: [{ name: "embedded", context: { cluster: "embedded", user } }],
      "current-context": "embedded",
    },
    null,
    2,
  );
}

/** Writes the kubeconfig of a user and returns its path. */
export function writeKubeconfig(user: string): string {
  const path = join(state("kubeconfig"), `${user}.yaml`);
  mkdirSync(state("kubeconfig"), { recursive: true, mode: 0o700 });
  const text = kubeconfig(user);
  writeIfChanged(path, text, 0o600);
  return path;
}
