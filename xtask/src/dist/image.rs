//! The OCI image layout. It needs no container engine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::archive::{sha256, tar};
use super::{NAME, Release, checks};
use crate::process::run_command;

/// The user of the image. It is a number, so that Kubernetes can check that the user is not root.
pub(super) const USER: &str = "10001";
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

/// Creates the layout as a tar archive, and runs the command in its file system.
pub(super) fn build(release: &Release<'_>) -> Result<PathBuf> {
    let root = release.output.join("stage").join(format!("image-{}", release.target.image));
    let layout = release.output.join("stage").join(format!("layout-{}", release.target.image));
    for folder in [&root, &layout] {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
    }
    create_root(release, &root)?;
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let layer = layer(release, &root, &layout)?;
    let content = fs::read(&layer)?;
    run_command(Command::new("gzip").args(["-9n", "--force"]).arg(&layer))?;
    let compressed_layer = fs::read(layer.with_extension("tar.gz"))?;
    fs::remove_file(layer.with_extension("tar.gz"))?;
    let layer = write_blob(&blobs, "application/vnd.oci.image.layer.v1.tar+gzip", &compressed_layer)?;
    let configuration = json!({
        "architecture": release.target.image,
        "os": "linux",
        "config": {
            "User": format!("{USER}:0"),
            "Env": ["PATH=/usr/bin", "HOME=/home/aignostics"],
            "Entrypoint": ["/usr/bin/aignostics"],
            "WorkingDir": "/home/aignostics",
            "Labels": {
                "org.opencontainers.image.title": NAME,
                "org.opencontainers.image.version": release.version,
                "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
            },
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", sha256(&content))] },
    });
    let configuration =
        write_blob(&blobs, "application/vnd.oci.image.config.v1+json", &serde_json::to_vec(&configuration)?)?;
    let media = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": media, "config": configuration, "layers": [layer] });
    let mut manifest = write_blob(&blobs, media, &serde_json::to_vec(&manifest)?)?;
    manifest["platform"] = json!({ "architecture": release.target.image, "os": "linux" });
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": release.version });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(layout.join("index.json"), serde_json::to_vec(&index)?)?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    let image = release.output.join(format!("{NAME}-{}-{}.oci.tar", release.version, release.target.image));
    run_command(tar(&release.time).arg("--create").arg("--file").arg(&image).arg("--directory").arg(&layout).arg("."))?;
    checks::image(release, &image)?;
    Ok(image)
}

/// Creates the file system of the image.
fn create_root(release: &Release<'_>, root: &Path) -> Result<()> {
    for folder in ["usr/bin", "usr/share/doc/aignostics-cli", "etc/ssl/certs", "home/aignostics", "tmp"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::copy(release.stage.join("aignostics"), root.join("usr/bin/aignostics"))?;
    for file in ["LICENSE-APACHE", "LICENSE-MIT", "THIRD-PARTY-LICENSES.txt", "sbom.cdx.json"] {
        fs::copy(release.stage.join(file), root.join("usr/share/doc/aignostics-cli").join(file))?;
    }
    let certificates = Path::new("/").join(CERTIFICATES);
    fs::copy(&certificates, root.join(CERTIFICATES))
        .with_context(|| format!("{}: install the package ca-certificates", certificates.display()))?;
    let users = format!("root:x:0:0::/root:/sbin/nologin\naignostics:x:{USER}:0::/home/aignostics:/sbin/nologin\n");
    fs::write(root.join("etc/passwd"), users)?;
    fs::write(root.join("etc/group"), "root:x:0:\n")?;
    // Runtimes that choose another user, such as OpenShift, keep the group 0.
    fs::set_permissions(root.join("home/aignostics"), fs::Permissions::from_mode(0o770))?;
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    Ok(())
}

/// Packs the file system, and returns the path of the archive.
fn layer(release: &Release<'_>, root: &Path, layout: &Path) -> Result<PathBuf> {
    let archive = layout.join("layer.tar");
    let mut create = tar(&release.time);
    create.arg("--create").arg("--file").arg(&archive).arg("--directory").arg(root);
    run_command(create.args(["etc", "usr"]))?;
    // These folders have another owner or other permissions.
    for (folder, owner) in [("home/aignostics", USER), ("tmp", "0")] {
        let mut append = Command::new("tar");
        append.args(["--append", "--numeric-owner", "--group=0", "--format=gnu", "--file"]).arg(&archive);
        append.arg(format!("--mtime=@{}", release.time)).arg(format!("--owner={owner}"));
        run_command(append.arg("--directory").arg(root).arg(folder))?;
    }
    Ok(archive)
}

/// Stores a blob under its digest, and returns its descriptor.
fn write_blob(blobs: &Path, media: &str, content: &[u8]) -> Result<Value> {
    let digest = sha256(content);
    fs::write(blobs.join(&digest), content)?;
    Ok(json!({ "mediaType": media, "digest": format!("sha256:{digest}"), "size": content.len() }))
}
