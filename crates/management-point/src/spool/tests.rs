//! The spool against a real folder.

use std::io::Write;

use cmg_api::device::{Message, MessageKind, Through};

use super::*;

const LIMIT: u64 = 1 << 20;

fn message(client: &str, id: &str) -> PassedOnMessage {
    let message = Message { id: id.into(), kind: MessageKind::Status, at: 1, body: serde_json::json!({ "text": id }), upload: None };
    PassedOnMessage { client: client.into(), through: Through::Intranet, received_at: 2, message }
}

async fn ids(spool: &Spool) -> Vec<String> {
    spool.oldest(100).await.into_iter().map(|(_, passed)| passed.message.id).collect()
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn what_was_kept_is_there_after_a_start_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), LIMIT).unwrap();
    spool.keep(vec![message("1", "a"), message("1", "b"), message("2", "a"), message("1", "a")]).await.unwrap();
    spool.keep(vec![message("1", "b")]).await.unwrap();
    assert_eq!(spool.waiting(), 3);
    drop(spool);

    let spool = Spool::open(folder.path(), LIMIT).unwrap();

    assert_eq!(ids(&spool).await, ["a", "b", "a"]);
    assert_eq!(spool.oldest(1).await[0].1, message("1", "a"));
}

#[tokio::test]
async fn what_the_site_has_kept_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), LIMIT).unwrap();
    spool.keep(vec![message("1", "a"), message("1", "b")]).await.unwrap();
    let numbers: Vec<u64> = spool.oldest(100).await.into_iter().map(|(number, _)| number).collect();

    spool.forget(vec![numbers[0]]).await;
    spool.keep(vec![message("1", "c")]).await.unwrap();
    assert_eq!(ids(&spool).await, ["b", "c"]);
    let numbers = spool.oldest(100).await.into_iter().map(|(number, _)| number).collect();
    spool.forget(numbers).await;
    // An order that is done says that those before it are.
    spool.keep(Vec::new()).await.unwrap();

    assert_eq!((spool.waiting(), files(folder.path()).len(), spool.shared.pending().used), (0, 0, 0));
    spool.keep(vec![message("1", "a")]).await.unwrap();
    assert_eq!(ids(&spool).await, ["a"], "what was forgotten is new");
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_and_what_is_before_it_stays() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), LIMIT).unwrap();
    spool.keep(vec![message("1", "a"), message("1", "b")]).await.unwrap();
    drop(spool);
    let path = files(folder.path()).remove(0);
    let whole = std::fs::read(&path).unwrap();
    let second = record::first(&whole).unwrap().1;
    for (torn, expected) in [
        (whole[..whole.len() - 1].to_vec(), &["a"][..]),
        (whole[..second + 5].to_vec(), &["a"]),
        ([&whole[..], b"\xff\xff\xff\xff"].concat(), &["a", "b"]),
        ([&whole[..], &[0; 64]].concat(), &["a", "b"]),
        (whole.iter().enumerate().map(|(at, byte)| if at == second + 20 { byte ^ 1 } else { *byte }).collect(), &["a"]),
    ] {
        File::create(&path).unwrap().write_all(&torn).unwrap();

        let spool = Spool::open(folder.path(), LIMIT).unwrap();

        assert_eq!(ids(&spool).await, expected);
    }
}

#[tokio::test]
async fn a_full_spool_refuses_says_so_and_takes_again_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), 1_000).unwrap();
    let mut number = 0;
    let refused = loop {
        number += 1;
        match spool.keep(vec![message("1", &number.to_string())]).await {
            Ok(()) => assert!(number < 100, "nothing is refused"),
            Err(refused) => break refused,
        }
    };
    let mut trouble = spool.trouble();
    assert!(matches!(refused, NotKept::Full) && trouble.borrow().is_some());
    assert_eq!(spool.waiting(), number - 1, "what was kept stays");

    let numbers = spool.oldest(100).await.into_iter().map(|(number, _)| number).collect();
    spool.forget(numbers).await;

    trouble.wait_for(Option::is_none).await.unwrap();
    spool.keep(vec![message("1", "again")]).await.unwrap();
}

#[tokio::test]
async fn many_at_once_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), 64 << 20).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..200 {
        let spool = spool.clone();
        tasks.spawn(async move {
            for id in 0..5 {
                spool.keep(vec![message(&client.to_string(), &id.to_string())]).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    drop(spool);

    assert_eq!(Spool::open(folder.path(), LIMIT).unwrap().waiting(), 1_000);
}

#[tokio::test]
async fn a_message_with_an_upload_goes_alone() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), LIMIT).unwrap();
    let mut large = message("1", "b");
    large.message.upload = Some("u".to_owned());
    spool.keep(vec![message("1", "a"), large, message("1", "c")]).await.unwrap();

    let first = spool.oldest(100).await;
    assert_eq!(first.len(), 1);
    spool.forget(vec![first[0].0]).await;
    spool.keep(Vec::new()).await.unwrap();

    assert_eq!(ids(&spool).await, ["b"]);
    assert_eq!(spool.uploads(), ["u".to_owned()].into());
}

#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_kept_and_takes_again_when_there_is_room() {
    let Some(disk) = SmallDisk::new() else { return eprintln!("skipped: only root may mount a small disk") };
    let spool = Spool::open(&disk.0.path().join("spool"), u64::MAX).unwrap();
    let large = |id: usize| {
        let mut large = message("1", &id.to_string());
        large.message.body = serde_json::json!({ "text": "x".repeat(20_000) });
        large
    };
    let mut kept = 0;
    let refused = loop {
        match spool.keep(vec![large(kept)]).await {
            Ok(()) => kept += 1,
            Err(refused) => break refused,
        }
    };

    assert!(matches!(refused, NotKept::Full), "{refused}");
    assert!(kept > 3 && spool.trouble().borrow().as_ref().is_some_and(|why| why.contains("disk")));
    drop(spool);
    let spool = Spool::open(&disk.0.path().join("spool"), u64::MAX).unwrap();
    let oldest = spool.oldest(100).await;
    assert_eq!(oldest.len(), kept);
    spool.forget(oldest.into_iter().map(|(number, _)| number).collect()).await;
    spool.keep(vec![large(kept)]).await.unwrap();
}

/// A file system of 256 KiB, which is gone with this.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(folder.path()).output();
        mount.is_ok_and(|mount| mount.status.success()).then(|| Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what is open there ends with its owner.
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}
