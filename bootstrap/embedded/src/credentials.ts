/** The platform's passwords. They are random, made once, and readable by root only. */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { hashSync } from "bcryptjs";
import { state } from "./layout.ts";

export interface Credentials {
  /** Password of the Git user `platform`, who may push. */
  platform: string;
  /** Password of the Git user `argocd`, who may only read. */
  argocd: string;
  /** Secret that signs the Git server's webhook calls. */
  webhook: string;
  /** Password of the user `platform` of the image mirror, who may push. */
  registry: string;
  /** Password of Argo CD's user `viewer`, who may only look. Argo CD gets its hash. */
  viewer: string;
  viewerHash: string;
  /** Password of the user `admin` of the proxy in front of Alertmanager, who may silence alerts. */
  silences: string;
}

const names = ["platform", "argocd", "webhook", "registry", "viewer", "silences"] as const;

/** A path in the directory of secrets, which only root can enter. It is created if it is missing. */
export function secretFile(name: string): string {
  mkdirSync(state("secrets"), { recursive: true, mode: 0o700 });
  return state("secrets", name);
}

/** Random credentials, made once and kept in the state directory. An older platform gets those that it lacks. */
export function credentials(): Credentials {
  const path = secretFile("credentials.json");
  const known = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Partial<Credentials>) : {};
  const hashed = known.viewerHash !== undefined;
  const missing = names.filter((name) => !known[name]);
  for (const name of missing) known[name] = randomBytes(24).toString("hex");
  // Each call would give another hash. It is kept, so that a second run changes nothing.
  if (!known.viewerHash) known.viewerHash = hashSync(known.viewer ?? "", 10);
  if (missing.length > 0 || !hashed) writeFileSync(path, JSON.stringify(known), { mode: 0o600 });
  return known as Credentials;
}
