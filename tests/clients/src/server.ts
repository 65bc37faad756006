// Starts the built server as a person would: default mode, a data directory and a port of its own. And stops it again.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Server {
  /** As in `http://127.0.0.1:8080`. */
  address: string;
  /** Of the demo's user. */
  token: string;
  stop(): Promise<void>;
}

/** Starts it with these options besides. */
export async function startServer(...options: string[]): Promise<Server> {
  const binary = process.env["TRELLIS"];
  if (!binary) throw new Error("TRELLIS must name the server's binary");
  const directory = await mkdtemp(join(tmpdir(), "trellis-clients-"));
  // PostgreSQL does not run as root, and must get into the directory all the same.
  await chmod(directory, 0o755);
  const { DATABASE_URL, REPLICA_URLS, ...env } = process.env;
  const server = spawn(binary, ["--listen", "127.0.0.1:0", "--data-dir", join(directory, "data"), "--log", "warn", ...options], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(server, "exit");
  const stop = async () => {
    server.kill("SIGTERM");
    await ended;
    await rm(directory, { recursive: true, force: true });
  };
  let output = "";
  for await (const chunk of server.stdout.setEncoding("utf8").iterator({ destroyOnReturn: false })) {
    output += chunk;
    const address = /^ *page +(http:\S+)\/$/m.exec(output)?.[1];
    const token = /^ *token +(\S+)$/m.exec(output)?.[1];
    if (address && token) {
      server.stdout.resume();
      return { address, token, stop };
    }
  }
  await stop();
  throw new Error(`${binary} ended before it served:\n${output}`);
}
