import { createPrivateKey, X509Certificate } from "node:crypto";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer } from "node:tls";
import { load } from "js-yaml";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";

const directory = mkdtempSync(join(tmpdir(), "certificates-"));
vi.stubEnv("STATE_DIR", join(directory, "state"));
const { certificateRequests, ensureCertificates, kubeconfig, needsRenewal, pki, writeKubeconfig } =
  await import("../src/certificates.ts");
const { apiServerURL, apiServiceAddress, bridge, nodes, state } = await import("../src/layout.ts");

const day = 24 * 60 * 60 * 1000;
const made = join(directory, "made");
const now = new Date();
const inDays = (days: number): Date => new Date(now.getTime() + days * day);
const authorities = ["ca", "etcd-ca"];
const clientAuth = "1.3.6.1.5.5.7.3.2";
const serverAuth = "1.3.6.1.5.5.7.3.1";
const names = certificateRequests.map(({ name }) => name);
const read = (name: string): X509Certificate => new X509Certificate(readFileSync(pki(name, "crt")));
/** The content of every certificate and key, by file. */
const contents = (): Record<string, string> =>
  Object.fromEntries(readdirSync(state("pki")).map((f) => [f, readFileSync(state("pki", f), "utf8")]));

let first: string[];
beforeAll(async () => {
  first = await ensureCertificates(now);
  cpSync(state("pki"), made, { recursive: true });
}, 120_000);
beforeEach(() => {
  rmSync(state("pki"), { recursive: true });
  cpSync(made, state("pki"), { recursive: true });
});
afterAll(() => rmSync(directory, { recursive: true }));

it("makes every certificate with its key, both authorities and the key of service accounts", () => {
  expect(first).toEqual(names);
  const pairs = [...names, ...authorities].flatMap((name) => [`${name}.crt`, `${name}.key`]);
  expect(readdirSync(state("pki")).sort()).toEqual(
    [...pairs, "service-account.key", "service-account.pub"].sort(),
  );
});

it("lets nobody but root read a key", () => {
  expect(statSync(state("pki")).mode & 0o777).toBe(0o700);
  for (const file of readdirSync(state("pki")).filter((f) => f.endsWith(".key")))
    expect([file, statSync(state("pki", file)).mode & 0o777]).toEqual([file, 0o600]);
});

it("changes nothing the second time", async () => {
  const before = contents();
  expect(await ensureCertificates(now)).toEqual([]);
  expect(contents()).toEqual(before);
});

it("makes again what was lost, and nothing else", async () => {
  const before = contents();
  rmSync(pki("scheduler", "crt"));
  rmSync(pki("admin", "key"));
  expect(await ensureCertificates(now)).toEqual(["admin", "scheduler"]);
  const changed = Object.entries(contents()).filter(([file, content]) => before[file] !== content);
  expect(changed.map(([file]) => file).sort()).toEqual([
    "admin.crt",
    "admin.key",
    "scheduler.crt",
    "scheduler.key",
  ]);
});

describe("renewal", () => {
  it("happens when less than 90 days are left, and not before", async () => {
    expect(await ensureCertificates(inDays(365 - 91))).toEqual([]);
    expect(await ensureCertificates(inDays(365 - 89))).toEqual(names);
    for (const name of names)
      expect(new Date(read(name).validTo).getTime()).toBeGreaterThan(inDays(600).getTime());
  });

  it("keeps the authorities and the key of service accounts", async () => {
    const before = contents();
    await ensureCertificates(inDays(300));
    const kept = Object.entries(contents()).filter(([file, content]) => before[file] === content);
    expect(kept.map(([file]) => file).sort()).toEqual(
      ["ca.crt", "ca.key", "etcd-ca.crt", "etcd-ca.key", "service-account.key", "service-account.pub"].sort(),
    );
    for (const { name, ca } of certificateRequests) expect(read(name).verify(read(ca).publicKey)).toBe(true);
  });

  it("is due when a name is missing, and only then", () => {
    const pem = readFileSync(pki("etcd-server", "crt"), "utf8");
    expect(needsRenewal(pem, ["127.0.0.1", "localhost"], now)).toBe(false);
    expect(needsRenewal(pem, ["localhost"], now)).toBe(false);
    expect(needsRenewal(pem, ["localhost", bridge.address], now)).toBe(true);
    const client = readFileSync(pki("admin", "crt"), "utf8");
    expect(needsRenewal(client, [], now)).toBe(false);
    expect(needsRenewal(client, ["localhost"], now)).toBe(true);
  });

  it("reissues the one certificate that lacks a name", async () => {
    cpSync(pki("kubelet-node2-server", "crt"), pki("kubelet-node1-server", "crt"));
    cpSync(pki("kubelet-node2-server", "key"), pki("kubelet-node1-server", "key"));
    expect(await ensureCertificates(now)).toEqual(["kubelet-node1-server"]);
  });
});

describe.each(certificateRequests)(
  "the certificate $name",
  ({ name, ca, commonName, organization, hosts = [] }) => {
    it("is issued by its authority, for its key, and is no authority itself", () => {
      const certificate = read(name);
      const other = authorities.find((authority) => authority !== ca) ?? "";
      expect(certificate.checkIssued(read(ca))).toBe(true);
      expect(certificate.verify(read(ca).publicKey)).toBe(true);
      expect(certificate.verify(read(other).publicKey)).toBe(false);
      expect(certificate.checkPrivateKey(createPrivateKey(readFileSync(pki(name, "key"))))).toBe(true);
      // These are critical basic constraints without the CA flag, in DER.
      expect(certificate.raw.toString("hex")).toContain("0603551d130101ff04023000");
    });

    it("carries its subject and names", () => {
      const certificate = read(name);
      const subject = [`CN=${commonName}`, ...(organization ? [`O=${organization}`] : [])];
      expect(certificate.subject.split("\n")).toEqual(subject);
      const sans = hosts.map((host) => `${/^[\d.]+$/.test(host) ? "IP Address" : "DNS"}:${host}`);
      expect(certificate.subjectAltName?.split(", ") ?? []).toEqual(sans);
    });

    it("may serve only where it has names", () => {
      expect(read(name).keyUsage).toEqual(hosts.length > 0 ? [clientAuth, serverAuth] : [clientAuth]);
    });

    it("is valid from yesterday for a year", () => {
      const certificate = read(name);
      expect(new Date(certificate.validFrom).getTime()).toBeLessThan(now.getTime());
      expect(Math.round((new Date(certificate.validTo).getTime() - now.getTime()) / day)).toBe(365);
    });
  },
);

it.each(authorities)("the authority %s signs itself and no certificate shares its serial number", (name) => {
  const authority = read(name);
  expect(authority.ca).toBe(true);
  expect(authority.verify(authority.publicKey)).toBe(true);
  const serials = [...names, ...authorities].map((certificate) => read(certificate).serialNumber);
  expect(new Set(serials).size).toBe(serials.length);
});

it("names the identities that RBAC and the Node authorizer know", () => {
  const subjects = Object.fromEntries(names.map((name) => [name, read(name).subject]));
  expect(subjects).toMatchObject({
    "controller-manager": "CN=system:kube-controller-manager",
    scheduler: "CN=system:kube-scheduler",
    "kube-proxy": "CN=system:kube-proxy",
    "kubelet-node1": "CN=system:node:node1\nO=system:nodes",
    "kubelet-node2": "CN=system:node:node2\nO=system:nodes",
    admin: "CN=kubernetes-admin\nO=system:masters",
  });
  const apiserver = read("apiserver");
  for (const address of [bridge.address, apiServiceAddress, "127.0.0.1"])
    expect(apiserver.checkIP(address)).toBe(address);
  expect(apiserver.checkHost("kubernetes.default.svc")).toBe("kubernetes.default.svc");
  for (const node of nodes)
    expect(read(`kubelet-${node.name}-server`).checkIP(node.address)).toBe(node.address);
});

describe("a TLS connection", () => {
  const identity = (name: string) => ({
    cert: readFileSync(pki(name, "crt")),
    key: readFileSync(pki(name, "key")),
    ca: readFileSync(pki("etcd-ca", "crt")),
  });
  /** Connects with the certificate `client` to a server with the certificate `server`, which greets clients that it accepts. */
  const meet = async (server: string, client: string): Promise<{ heard: string; error?: string }> => {
    const options = { ...identity(server), requestCert: true, rejectUnauthorized: true };
    const listener = createServer(options, (socket) => socket.end("welcome"));
    await new Promise<void>((listening) => listener.listen(0, "127.0.0.1", listening));
    const { port } = listener.address() as AddressInfo;
    const outcome: { heard: string; error?: string } = { heard: "" };
    await new Promise<void>((closed) => {
      const socket = connect({ host: "127.0.0.1", port, ...identity(client) });
      socket.setEncoding("utf8").on("data", (chunk) => {
        outcome.heard += chunk;
      });
      socket.on("error", ({ message }) => {
        outcome.error = message;
      });
      socket.on("close", () => closed());
    });
    listener.close();
    return outcome;
  };

  it("joins the API server with etcd", async () => {
    expect(await meet("etcd-server", "apiserver-etcd-client")).toEqual({ heard: "welcome" });
  });

  it("is refused to clients of the other authority", async () => {
    expect((await meet("etcd-server", "admin")).heard).toBe("");
  });

  it("is refused by clients where the server's certificate is for clients only", async () => {
    const { heard, error } = await meet("apiserver-etcd-client", "apiserver-etcd-client");
    expect(heard).toBe("");
    expect(error).toContain("certificate purpose");
  });
});

describe("a kubeconfig", () => {
  interface Kubeconfig {
    "current-context": string;
    clusters: { name: string; cluster: Record<string, string> }[];
    users: { name: string; user: Record<string, string> }[];
    contexts: { name: string; context: { cluster: string; user: string } }[];
  }
  const decoded = (text = ""): string => Buffer.from(text, "base64").toString();

  it("holds the address, the authority and the user's certificate with its key", () => {
    const config = load(kubeconfig("scheduler")) as Kubeconfig;
    const context = config.contexts.find(({ name }) => name === config["current-context"])?.context;
    const { cluster } = config.clusters.find(({ name }) => name === context?.cluster) ?? {};
    const { user } = config.users.find(({ name }) => name === context?.user) ?? {};
    expect(cluster?.server).toBe(apiServerURL);
    expect(decoded(cluster?.["certificate-authority-data"])).toBe(readFileSync(pki("ca", "crt"), "utf8"));
    const certificate = new X509Certificate(decoded(user?.["client-certificate-data"]));
    expect(certificate.subject).toBe("CN=system:kube-scheduler");
    expect(certificate.checkPrivateKey(createPrivateKey(decoded(user?.["client-key-data"])))).toBe(true);
  });

  it("is written for root alone, follows a renewal and is left alone otherwise", async () => {
    const path = writeKubeconfig("admin");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, "utf8")).toBe(kubeconfig("admin"));
    const { mtimeMs } = statSync(path);
    writeKubeconfig("admin");
    expect(statSync(path).mtimeMs).toBe(mtimeMs);
    writeFileSync(pki("admin", "crt"), readFileSync(pki("scheduler", "crt")));
    writeKubeconfig("admin");
    expect(readFileSync(path, "utf8")).toBe(kubeconfig("admin"));
  });
});
