//! What each fault is called and what to do about it.

use goldfish::data::doctor::Fault;

/// A fault's title, and what to do.
pub struct Words {
    pub what: &'static str,
    pub advice: &'static str,
}

/// What is said of `fault`.
pub fn words(fault: Fault) -> Words {
    let (what, advice) = match fault {
        Fault::Folder => (
            "Folders that are refused",
            "Mend what the line says: training reads DATA/<class>/<picture>",
        ),
        Fault::UnknownClass => (
            "Folders that are no classes",
            "Rename them, or say what the folders are named by: --classes own or --classes imagenet, or --keep-imagenet for \
             classes of your own behind ImageNet's",
        ),
        Fault::OneClass => (
            "Only one class",
            "Add a folder of pictures of something else: it takes two classes to learn what tells them apart",
        ),
        Fault::EmptyClass => (
            "Classes without pictures",
            "Add PNG, JPEG, WebP, BMP, GIF or TIFF files, or remove the folder",
        ),
        Fault::FewPictures => (
            "Classes with too few pictures",
            "Add some, or remove the folder: a class of your own needs two, and is learned from many more",
        ),
        Fault::Unreadable => (
            "Pictures that cannot be read",
            "Replace or remove them, or train without them: --skip-bad",
        ),
        Fault::Cut => (
            "Pictures that are cut off",
            "Fetch or copy them again, or train without them: --skip-bad",
        ),
        Fault::Contradiction => (
            "The same picture in several classes",
            "Keep it where it belongs: what is learned of one is unlearned of the other",
        ),
        Fault::Leak => (
            "The same picture in training and validation",
            "Remove it from one of them: what is known by heart says nothing of new pictures",
        ),
        Fault::UnknownInValidation => (
            "Folders to validate with that are no class of the training",
            "Name them as the folders of the training are, or remove them",
        ),
        Fault::ClashingClasses => (
            "Class names that clash",
            "Give each class one folder of one spelling: on Windows and macOS names that differ in case are one folder",
        ),
        Fault::OddNames => (
            "Class names that are not what they look like",
            "Rename the folders: the characters turn around what stands beside them, steer a terminal, or are not seen",
        ),
        Fault::FolderAbove => (
            "Folders that look like parts of the data and not like classes",
            "Name the folder that has the class folders: DATA/train as DATA, and the other one as --val",
        ),
        Fault::Imbalance => (
            "Classes of very different sizes",
            "Add pictures to the small ones or take some from the large ones: what is rare is seldom answered",
        ),
        Fault::GreyClass => (
            "Classes that are grey where others are coloured",
            "Make all grey or all coloured: colour alone tells these apart, and will not on other pictures",
        ),
        Fault::MissingInValidation => (
            "Classes without a picture to validate with",
            "Add some to the validation: nothing will be known of how well they are learned",
        ),
        Fault::NearLeak => (
            "Nearly the same picture in training and validation",
            "Look at them, and keep copies of one scene on one side",
        ),
        Fault::Duplicate => (
            "The same picture several times",
            "Remove the copies: each counts as often as it is there, and a split may put one on either side",
        ),
        Fault::NearDuplicate => (
            "Nearly the same picture several times",
            "Look at them: of copies in other sizes or qualities and of frames of one film, one is enough",
        ),
        Fault::Blank => (
            "Pictures of one colour",
            "Remove them where they are failed downloads or dark frames: there is nothing to see",
        ),
        Fault::Turned => (
            "Pictures that lie on their side or stand on their head",
            "Turn them as their EXIF data says: --exif, for training and for everything after it",
        ),
        Fault::Transparent => (
            "Pictures with transparent pixels",
            "Put them on a background: transparency is dropped, and what lies under it is seen",
        ),
        Fault::Tiny => (
            "Pictures of a few pixels",
            "Remove them where they are thumbnails or icons: there is little to see",
        ),
        Fault::Loose => (
            "Pictures in no class folder",
            "Move them into the folder of their class: they are left out",
        ),
        Fault::NotNamed => (
            "Pictures that are not named like one",
            "Give them the ending of their format, such as .jpg: they are left out",
        ),
        Fault::DeadLink => (
            "Links that lead nowhere, or back",
            "Mend or remove them: they are left out",
        ),
        Fault::WrongEnding => (
            "Pictures with the ending of another format",
            "Nothing here, where the content decides; other programs may go by the name",
        ),
        Fault::Huge => (
            "Pictures of very many pixels",
            "Make them smaller once: each run reads them whole, and needs no more than the image size",
        ),
        Fault::Long => (
            "Pictures three times as long as wide, or more",
            "Cut out what matters where it is not in the middle: the middle square is all that is seen",
        ),
        Fault::Small => (
            "Pictures smaller than the image size",
            "Nothing, or choose a smaller --image-size where most are: they are enlarged",
        ),
        Fault::SixteenBit => (
            "Pictures of more than 8 bits a sample",
            "Stretch them to 8 bits where they come out dark: only the upper bits are seen",
        ),
        Fault::Animated => (
            "Files of several pictures",
            "Save the others as files of their own where they matter: only the first is seen",
        ),
        Fault::Inks => (
            "Pictures in CMYK",
            "Save them as RGB where colours matter: inks are turned into RGB without a colour profile",
        ),
        Fault::Junk => ("Other files", "Nothing: they are left out"),
    };
    Words { what, advice }
}
