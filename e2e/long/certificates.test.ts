/** Row 16 of the doors: a certificate that is about to end is renewed while the platform runs, and nobody does anything. */
import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { execa } from "execa";
import { expect, test } from "vitest";
import { until } from "../../lib/failure.ts";
import { send } from "../app.ts";
import { kubectl, list } from "../kubectl.ts";
import { stateDirectory } from "../machine.ts";
import { query } from "../prometheus.ts";

const pki = (name: string): string => join(stateDirectory, "pki", name);
const supervised = ["-c", join(stateDirectory, "supervisor/supervisord.conf")];

/** Puts a certificate of the same subject and names in the place of one, which ends in two days. */
async function shorten(name: string): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "e2e-certificate-"));
  const at = (file: string): string => join(directory, file);
  const openssl = (...args: string[]) => execa("openssl", args);
  try {
    const certificate = new X509Certificate(readFileSync(pki(`${name}.crt`)));
    const names = certificate.subjectAltName?.replaceAll("IP Address:", "IP:");
    const extensions = ["basicConstraints=critical,CA:FALSE", "extendedKeyUsage=clientAuth,serverAuth"];
    writeFileSync(
      at("extensions"),
      [...extensions, ...(names ? [`subjectAltName=${names}`] : [])].join("\n"),
    );
    const subject = `/${certificate.subject.split("\n").join("/")}`;
    await openssl("req", "-new", "-key", pki(`${name}.key`), "-subj", subject, "-out", at("request"));
    const authority = ["-CA", pki("ca.crt"), "-CAkey", pki("ca.key"), "-set_serial", `0x${Date.now()}`];
    const out = ["-days", "2", "-extfile", at("extensions"), "-out", pki(`${name}.crt`)];
    await openssl("x509", "-req", "-in", at("request"), ...authority, ...out);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** When the certificate ends that a server shows. */
const served = (host: string, port: number): Promise<Date> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host, port, rejectUnauthorized: false }, () => {
      resolve(new Date(socket.getPeerCertificate().valid_to));
      socket.destroy();
    });
    socket.on("error", reject);
  });

const days = (end: Date): number => (end.getTime() - Date.now()) / 86_400_000;
const names = [
  "apiserver",
  "scheduler",
  "controller-manager",
  "kubelet-node1-server",
  "kubelet-node1",
  "kube-router",
];

test("certificates in their last days are renewed, and what uses them takes the new ones", async ({
  annotate,
}) => {
  for (const name of names) await shorten(name);
  // As after a restart of everything two days before the end: what is served is what lies there.
  await execa("supervisorctl", [...supervised, "restart", "kube-apiserver", "node1-kubelet"]);
  await until("the API server", 120, async () =>
    (await kubectl(["get", "--raw", "/readyz"])).trim() === "ok" ? undefined : "not ready",
  );
  expect(days(await served("10.250.0.1", 6443))).toBeLessThan(3);
  const started = Date.now();

  await until("renewal", 900, async () => {
    const [server, kubelet] = [await served("10.250.0.1", 6443), await served("10.250.0.11", 10250)];
    const left = Math.min(days(server), days(kubelet));
    return left > 300 ? undefined : `${Math.round(left)} days are left`;
  });
  await annotate(`renewed and served after ${Math.round((Date.now() - started) / 1000)} s`);
  for (const name of names)
    expect(
      days(new Date(new X509Certificate(readFileSync(pki(`${name}.crt`))).validTo)),
      name,
    ).toBeGreaterThan(300);

  interface Node {
    status: { conditions: { type: string; status: string }[] };
  }
  await until("the nodes", 180, async () => {
    const ready = (await list<Node>("nodes")).filter(({ status }) =>
      status.conditions.some(({ type, status }) => type === "Ready" && status === "True"),
    );
    return ready.length === 2 ? undefined : `${ready.length} are ready`;
  });
  expect((await send("/status")).status).toBe(200);
  // Clients too: a pod is scheduled, and runs.
  await kubectl(["-n", "logging", "rollout", "restart", "deployment/log-archive"]);
  await kubectl(["-n", "logging", "rollout", "status", "deployment/log-archive", "--timeout=110s"]);
  // And Prometheus knows until when.
  await until("the metric", 120, async () => {
    const found = await query("min(logging_platform_certificate_expiry_timestamp_seconds) - time()");
    const left = Number(found[0]?.value ?? 0) / 86_400;
    return left > 300 ? undefined : `the first one ends in ${left} days`;
  });
});
