//! Uses ring, SQLite and zstd, so that each is linked and runs.

use ring::digest;

fn main() {
    let text = "the same bytes come back ".repeat(1000);

    let packed = zstd::encode_all(text.as_bytes(), 19).expect("zstd compresses");
    let unpacked = zstd::decode_all(packed.as_slice()).expect("zstd decompresses");
    assert_eq!(unpacked, text.as_bytes());
    println!("zstd: {} bytes become {}", text.len(), packed.len());

    let hash = digest::digest(&digest::SHA256, b"abc");
    assert!(hash.as_ref().starts_with(&[0xba, 0x78, 0x16, 0xbf]));
    println!("ring: {hash:?}");

    // A file, since SQLite asks the C library for its size and times.
    let path = std::env::temp_dir().join("c-deps.sqlite");
    let database = rusqlite::Connection::open(&path).expect("SQLite opens a file");
    database
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (n REAL); INSERT INTO t VALUES (0.5), (41.5)")
        .expect("SQLite writes");
    let (sum, now): (f64, String) = database
        .query_row("SELECT sum(n), date('now', 'localtime') FROM t", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("SQLite reads");
    assert!((sum - 42.0).abs() < f64::EPSILON);
    assert!(now > "2024".into(), "the C library says it is {now}");
    println!("sqlite {}: {sum} on {now}", rusqlite::version());
}
